"""A run and all its processes killed at random moments, then started again: as if nothing had been."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from os import kill
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from process_trees import family
from tiny import CONFIG, augpipe, environment, run_tiny

from augpipe.core.processes import is_dead, this_process

KILLS = 3


def start(place: Path) -> subprocess.Popen[bytes]:
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "augpipe"), "run", "tiny.yaml", "--out", "out"],
            cwd=place, env=environment(place), stdout=log, stderr=log,
        )  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find processes")
def test_kills_change_nothing(tmp_path: Path) -> None:
    begun = time.monotonic()
    whole = run_tiny(tmp_path / "whole")
    took = time.monotonic() - begun
    assert whole.status == 0, whole.err[-3000:]
    place = tmp_path / "broken"
    place.mkdir()
    (place / "tiny.yaml").write_text(CONFIG)
    seed = time.time_ns()  # any moment will do: each test run tries others
    rng = random.Random(seed)
    for turn in range(KILLS):
        process = start(place)
        # No event to wait for: a kill comes at any moment. The last comes late, when much is finished.
        time.sleep((rng.uniform(0.2, 0.9) if turn + 1 < KILLS else 0.8) * took)
        for pid in family(process.pid):
            try:
                kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it had ended
        process.wait()
    made = {p.name: p.stat().st_ino for p in (place / "data" / "store").glob("records/*")}
    assert made, "nothing was finished before the last kill"
    done = augpipe(place, "run", "tiny.yaml", "--out", "out")
    assert done.status == 0, f"seed {seed}: {done.err[-3000:]}"
    scores = [(folder / "scores.csv").read_bytes() for folder in (whole.folder, done.folder)]
    assert scores[0] == scores[1], f"seed {seed}"
    # Whatever was finished before was not made again, and no draft is left that a run would take for a result.
    after = {p.name: p.stat().st_ino for p in (place / "data" / "store").glob("records/*")}
    assert {name: after[name] for name in made} == made
    told = done.err.split("recalled ")[1].split(" ")[0]
    assert int(told) >= len(made) - 1, f"seed {seed}"
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
    assert len(names) == len(set(names)) == 4 * 3 + 2 * 3


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    mine = this_process()
    place, pid, began = mine.split(" ")
    assert not is_dead(mine)
    assert is_dead(f"{place} {pid} {int(began) - 1}")
    assert not is_dead(f"elsewhere {pid} {began}") and not is_dead("")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as other:
        other.wait()
    assert is_dead(f"{place} {other.pid} {began}")
