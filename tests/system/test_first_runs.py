"""Two runs at once that are the first in their AUGPIPE_HOME, whose path has what URLs and formats give a meaning."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import warm
from tiny import environment

CONFIG = """
name: first
source: {kind: bundled, name: digits}
image: {size: 8}
classifier: {width: 0.25, steps: 4, evaluations: 1}
runner: {workers: 1, threads: 1}
arms: [{name: real}]
baseline: real
seeds: 1
confirm: off
"""


def test_two_first_runs_at_once_in_a_home_with_an_odd_path(tmp_path: Path) -> None:
    """Each has a Prefect server of its own; both make MLflow's database, one after the other."""
    home = tmp_path / "a? %20 #1 {b} é"
    (tmp_path / "first.yaml").write_text(CONFIG)
    given = environment(tmp_path, AUGPIPE_HOME=str(home))
    runs = [warm.Running(tmp_path, ["run", "first.yaml", "--out", out], given) for out in ("one", "two")]
    answers = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], answers
    assert not any("Traceback" in answer for answer in answers)
    scores = [(tmp_path / out / "scores.csv").read_bytes() for out in ("one", "two")]
    assert scores[0] == scores[1]
    with sqlite3.connect(home / "mlflow.db") as base:
        states = base.execute("select status from runs").fetchall()
    assert states and {state for (state,) in states} == {"FINISHED"}
    assert {p.name for p in tmp_path.iterdir()} == {home.name, "first.yaml", "home", "one", "two"}
    assert not list((home / "prefect").glob("run-*"))
