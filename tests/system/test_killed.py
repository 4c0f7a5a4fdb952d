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
from tiny import CONFIG, ONE, Ran, augpipe, environment, served

from augpipe.core.processes import is_dead, this_process

# What the run says last before it is killed: when only data and a first generator are there, when a classifier is scored,
# and when nearly all is finished.
MOMENTS = ("generator smote", "scored", "acgan, seed 0: scored")
SETS = [part for one in ONE for part in ("--set", one)]
COMMAND = ("run", "tiny.yaml", "--out", "out", *SETS)


def kill_at(place: Path, words: str, given: dict[str, str]) -> None:
    """Start the run, and kill it with all below it as soon as it says these words."""
    log = place / "log"
    with log.open("wb") as out, Path(os.devnull).open("rb") as nothing:
        process = warm.Running(place, COMMAND, given, (nothing, out, out))
    until = time.monotonic() + 300
    while words not in log.read_text():
        assert is_running(process.pid) and time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.02)
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
    kill_at(place, MOMENTS[0], environment(place))
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
    assert int(reused) >= len(made) - 1
    # Every tracked run has ended, one comparison is whole.
    uri = f"sqlite:///{place / 'data' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert not [run for run in runs if run.info.status == "RUNNING"]
    finished = [
        run for run in runs
        if run.data.tags["augpipe.kind"] == "comparison" and run.info.status == "FINISHED"
    ]  # fmt: skip
    assert len(finished) >= 1
    names = [
        (run.data.tags["augpipe.kind"], run.info.run_name) for run in runs
        if run.data.tags.get("mlflow.parentRunId") == finished[0].info.run_id
    ]  # fmt: skip
    assert len(names) == len(set(names)) == 4 + 2


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    mine = this_process()
    place, pid, began = mine.split(" ")
    assert not is_dead(mine)
    assert is_dead(f"{place} {pid} {int(began) - 1}")
    assert not is_dead(f"elsewhere {pid} {began}") and not is_dead("")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as other:
        other.wait()
    assert is_dead(f"{place} {other.pid} {began}")
