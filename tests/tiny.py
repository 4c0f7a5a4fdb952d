"""An experiment that goes through every stage in seconds, and a process to run the command in."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
classifier: {width: 0.25, steps: 30, batch: 32, evaluations: 3}
curation: {checks: [copies]}  # trained as little as this, nothing passes the others
arms:
  - {name: real}
  - {name: classic, mix: {sampler: balanced, transform: light}}
  - {name: smote, generator: smote, mix: {share: auto}}
  - {name: acgan, generator: acgan, mix: {fill: 0.5, share: 0.3, sampler: balanced}}
baseline: real
seeds: 3
"""


@dataclass(frozen=True)
class Ran:
    """A finished command and where it worked."""

    place: Path
    status: int
    out: str
    err: str

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
        k: v for k, v in os.environ.items()
        if not k.startswith(("AUGPIPE", "PREFECT", "MLFLOW", "DO_NOT", "NO_ALB"))
    }  # fmt: skip
    return {**kept, "HOME": str(place / "home"), **more}


def begin(place: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start the command in `place`; what it says on either stream comes out of `stdout`."""
    return subprocess.Popen(
        [str(Path(sys.executable).parent / "augpipe"), *arguments], cwd=place, text=True,
        env=environment(place, **more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def until(process: subprocess.Popen[str], words: str) -> str:
    """What a command says up to a line with these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was never said: {said[-3000:]}")


def augpipe(place: Path, *arguments: str, **more: str) -> Ran:
    """Run the command in `place`."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "augpipe"), *arguments],
        cwd=place, env=environment(place, **more), capture_output=True, text=True, timeout=800,
        check=False,
    )  # fmt: skip
    return Ran(place, done.returncode, done.stdout, done.stderr)


def run_tiny(place: Path, **more: str) -> Ran:
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.yaml").write_text(CONFIG)
    return augpipe(place, "run", "tiny.yaml", "--out", "out", **more)
