"""An experiment that goes through every stage in seconds, and a process to run the command in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import warm

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
name: tiny
source: {kind: bundled, name: digits}
image: {size: 16, channels: 1}
imbalance: {profile: step, classes: [7, 8, 9], keep: 0.1}
split: {val: 0.1, test: 0.1}
generators:
  smote: {kind: smote}
  acgan: {kind: acgan, kimg: 1, ticks: 2, width: 0.06, latent: 16, batch: 50}
classifier: {width: 0.25, steps: 12, batch: 32, evaluations: 3}
fidelity: {images: 12}
curation: {checks: [copies]}  # trained as little as this, nothing passes the others
arms:
  - {name: real}
  - {name: classic, mix: {sampler: balanced, transform: light}}
  - {name: smote, generator: smote, mix: {share: auto}}
  - {name: acgan, generator: acgan, mix: {fill: 0.5, share: 0.3, sampler: balanced}}
baseline: real
confirm: off  # the stage that trains again with fresh seeds: flows/test_confirm.py
seeds: 2
"""


@dataclass(frozen=True)
class Ran:
    """A finished command and where it worked."""

    place: Path
    status: int
    out: str
    err: str
    peak: float = 0.0  # GB, of the largest of its processes; measured only of a command of its own

    @property
    def folder(self) -> Path:
        return self.place / "out"

    @property
    def home(self) -> Path:
        return self.place / "data"


def environment(place: Path, **more: str) -> dict[str, str]:
    """A fresh user's: an empty home, nothing set of ours, Prefect's or MLflow's."""
    (place / "home").mkdir(parents=True, exist_ok=True)
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("AUGPIPE", "PREFECT", "MLFLOW", "DO_NOT", "NO_ALB", "PYTHONUNBUFFERED"))
    }
    return {**kept, "HOME": str(place / "home"), **more}


def alone(place: Path, **more: str) -> dict[str, str]:
    """The environment of a run that starts a Prefect server of its own, in a home where an earlier one has left its
    empty database.

    That a first run's server creates it: `conftest.whole`.
    """
    from flows.databases import prefect_template  # here: copies of the library alone are tested too

    given = environment(place, **more)
    template = prefect_template(Path(given.get("AUGPIPE_HOME", place / "data")) / "prefect")
    template.parent.mkdir(parents=True, exist_ok=True)
    template.parent.chmod(0o700)
    shutil.copy(warm.prefect_database(), template)
    template.chmod(0o600)
    return given


def begin(place: Path, *arguments: str, **more: str) -> warm.Running:
    """Start the command in `place`; what it says on either stream comes out of `stdout`."""
    return warm.Running(place, arguments, served(place, environment(place, **more)))


def until(process: warm.Running | subprocess.Popen[str], words: str) -> str:
    """What a command says up to a line with these words."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was never said: {said[-3000:]}")


# Runs a command; the last line is the peak (kB) of it and those it waited for. A child starts with the peak of whom it
# was forked from, and that of the tests' own process is of all tests before.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
WORKS = ("run", "train", "balance", "refresh")  # the commands that need servers


def augpipe(place: Path, *arguments: str, alone: bool = False, **more: str) -> Ran:
    """Run the command in `place`.

    It is forked from a process that has imported it, with the session's Prefect server and an empty tracking database
    of its own; alone: it is a fresh user's, in a new process with nothing given, and starts its own server.
    """
    if alone:
        command = [str(Path(sys.executable).parent / "augpipe"), *arguments]
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command],
            cwd=place,
            env=environment(place, **more),
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        out, _, peak = done.stdout.rstrip("\n").rpartition("\n")
        return Ran(place, done.returncode, f"{out}\n", done.stderr, float(peak) / 1e6)
    given = environment(place, **more)
    if arguments and arguments[0] in WORKS:
        given = served(place, given)
    return Ran(place, *warm.run(place, arguments, given, timeout=800))


def served(place: Path, given: dict[str, str]) -> dict[str, str]:
    """An environment with the session's Prefect server; the tracking database is there, empty, in the place's own."""
    if "PREFECT_API_URL" not in given:
        given = {
            **given,
            "PREFECT_API_URL": warm.prefect(),
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            # Each task makes two clients, and each client reads all root certificates, 40 ms, also for plain HTTP.
            "PREFECT_API_SSL_CERT_FILE": str(warm.certificate()),
        }
    home = Path(given.get("AUGPIPE_HOME", place / "data"))
    if "MLFLOW_TRACKING_URI" not in given and not (home / "mlflow.db").exists():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(warm.database(), home / "mlflow.db")
    return given


def run_tiny(place: Path, *sets: str, alone: bool = False, **more: str) -> Ran:
    """The whole comparison in `place`, with these settings changed."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.yaml").write_text(CONFIG)
    options = [part for one in sets for part in ("--set", one)]
    return augpipe(place, "run", "tiny.yaml", "--out", "out", *options, alone=alone, **more)


ONE = ("seeds=1", "runner.threads=1")  # the settings of the fixture `single`


def beside(single: Ran, place: Path, *sets: str, more: tuple[str, ...] = (), **given: str) -> Ran:
    """Another run of one seed in `place`, over the store of `single`,
    which is used but for what the settings change.
    """
    (place / "tiny.yaml").write_text(CONFIG)
    options = [part for one in (*ONE, *sets) for part in ("--set", one)]
    given = {"MLFLOW_TRACKING_URI": tracking(place), **given}
    return augpipe(place, "run", "tiny.yaml", "--out", "out", *options, *more, AUGPIPE_HOME=str(single.home), **given)


def tracking(place: Path) -> str:
    """The address of an empty tracking database in `place`, made where there is none."""
    if not (place / "mlflow.db").exists():
        shutil.copy(warm.database(), place / "mlflow.db")
    return f"sqlite:///{place / 'mlflow.db'}"


def rows_of_first_seed(scores: Path) -> list[str]:
    """The head and the lines of seed 0, as they stand in a scores.csv."""
    lines = scores.read_text().splitlines()
    at = lines[0].split(",").index("seed")
    return [line for line in lines if line.split(",")[at] in ("seed", "0")]
