"""A run and all its processes killed at named moments, then started again: as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest
import warm
from mlflow import MlflowClient
from process_trees import family, is_running
from servers import Prefect
from tiny import CONFIG, ONE, Ran, alone, augpipe, environment, served, tracking

from augpipe.core.processes import is_dead, this_process

# What the run says last before it is killed: when only data and a first generator are there, when a classifier is
# scored, and when nearly all is finished.
MOMENTS = ("generator smote", "scored", "acgan, seed 0: scored")
SETS = [part for one in ONE for part in ("--set", one)]
COMMAND = ("run", "tiny.yaml", "--out", "out", *SETS)


def start_until(place: Path, words: str, given: dict[str, str], command: tuple[str, ...] = COMMAND) -> warm.Running:
    """Start the run and wait until it says these words; all it says goes to PLACE/log."""
    log = place / "log"
    with log.open("wb") as out, Path(os.devnull).open("rb") as nothing:
        process = warm.Running(place, command, given, (nothing, out, out))
    until = time.monotonic() + 300
    while words not in log.read_text():
        assert is_running(process.pid) and time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.02)
    return process


def kill_at(place: Path, words: str, given: dict[str, str]) -> None:
    """Start the run, and kill it with all below it as soon as it says these words."""
    process = start_until(place, words, given)
    for pid in family(process.pid):
        with suppress(ProcessLookupError):  # it had ended
            os.kill(pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find processes")
def test_kills_change_nothing(tmp_path: Path, single: Ran) -> None:
    place = tmp_path / "broken"
    place.mkdir()
    (place / "tiny.yaml").write_text(CONFIG)
    # The first has a server of its own, which is killed with it; the others take the session's.
    kill_at(place, MOMENTS[0], alone(place))
    for words in MOMENTS[1:]:
        kill_at(place, words, served(place, environment(place)))
    made = {p.name: p.stat().st_ino for p in (place / "data" / "store").glob("records/*")}
    assert made, "nothing was finished before the last kill"
    done = augpipe(place, *COMMAND)
    assert done.status == 0, done.err[-3000:]
    scores = [(folder / "scores.csv").read_bytes() for folder in (single.folder, done.folder)]
    assert scores[0] == scores[1]
    # Whatever was finished before was not made again, and no draft is left that a run would take for a result.
    after = {p.name: p.stat().st_ino for p in (place / "data" / "store").glob("records/*")}
    assert {name: after[name] for name in made} == made
    reused = done.err.split("reused ")[1].split(" ")[0]
    # Candidates of a search are results of their own, but no tasks.
    tasks = [name for name in made if not name.startswith("try_candidate")]
    assert int(reused) >= len(tasks) - 1
    # Every tracked run has ended, one comparison is whole.
    uri = f"sqlite:///{place / 'data' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert not [run for run in runs if run.info.status == "RUNNING"]
    finished = [run for run in runs if run.data.tags["augpipe.kind"] == "comparison" and run.info.status == "FINISHED"]
    assert len(finished) >= 1
    names = [
        (run.data.tags["augpipe.kind"], run.info.run_name)
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == finished[0].info.run_id
    ]
    assert len(names) == len(set(names)) == 4 + 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find processes")
@pytest.mark.parametrize("whose", ["the run's own", "the user's"])
def test_without_its_prefect_server_a_run_goes_on_and_delivers(tmp_path: Path, single: Ran, whose: str) -> None:
    """Only Prefect's record of the run is lost, which a server of the run's own deletes anyway. That one freezes, and
    is killed by the run; the user's is killed. Before, the run is stopped for a while, as by Ctrl-Z and `fg`.
    """
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    # Over the results of `single`: one generator and its arm are left to be made.
    kimg = 0.3 if whose == "the user's" else 0.35
    command = (*COMMAND, "--set", f"generators.acgan.kimg={kimg}")
    more = {"AUGPIPE_HOME": str(single.home), "MLFLOW_TRACKING_URI": tracking(tmp_path)}
    given = alone(tmp_path, AUGPIPE_PREFECT_PATIENCE="4", **more)
    users = None
    if whose == "the user's":
        users = Prefect(tmp_path / "prefect", quiet=True, empty=warm.prefect_database())
        given |= {"PREFECT_API_URL": users.url, "AUGPIPE_PREFECT_PATIENCE": "2"}
    process = start_until(tmp_path, "generator acgan", given, command)
    below = family(process.pid)
    servers = [pid for pid in below if b"server_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(servers) == (users is None)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGCONT)
    users.kill() if users else os.kill(servers[0], signal.SIGSTOP)
    begun = time.monotonic()
    assert process.wait(120) == 0, (tmp_path / "log").read_text()[-3000:]
    assert time.monotonic() - begun < 60
    lines = (tmp_path / "log").read_text().splitlines()
    lost = [line for line in lines if "Prefect" in line]
    assert len(lost) == 1 and "the run continues without it" in lost[0], lines
    table = lines.index(next(line for line in lines if line.startswith("arm ")))
    progress = [line for line in lines[:table] if line not in lost]
    assert all(
        line.startswith(("[", "reused ", "no verdict is possible: ", "the arm 'smote' draws all classes"))
        for line in progress
    ), progress
    assert lines[-1] == "report: out/report.html" and (tmp_path / "out" / "report.html").exists()
    scores = [(folder / "scores.csv").read_text().splitlines() for folder in (single.folder, tmp_path / "out")]
    others = [[line for line in rows if "acgan" not in line] for rows in scores]
    assert others[0] == others[1] and len(scores[0]) == len(scores[1])
    until = time.monotonic() + 15
    while (left := [pid for pid in below if is_running(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    mine = this_process()
    place, pid, began = mine.split(" ")
    assert not is_dead(mine)
    assert is_dead(f"{place} {pid} {int(began) - 1}")
    assert not is_dead(f"elsewhere {pid} {began}") and not is_dead("")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as other:
        other.wait()
    assert is_dead(f"{place} {other.pid} {began}")
