"""The demo's own command as `make demo` runs it, shortened; `tests/benchmarks/bench_demo.py` runs it whole."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
from tiny import ROOT, environment

# Runs a command; the last line is the peak (kB) of it and those it waited for.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
SHORT = ("seeds=1", "classifier.steps=100", "classifier.evaluations=2", "generators.acgan.kimg=3",
         "generators.acgan.ticks=2", "fidelity.images=40")  # fmt: skip


def test_the_demo(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    command = [
        str(Path(sys.executable).parent / "augpipe"), "run", "configs/digits.yaml", "--out", "data/demo",
        *(part for one in SHORT for part in ("--set", one)),
    ]  # fmt: skip
    # Measured by a small process in between: a child starts with the peak of whom it was forked from, and
    # this one's is that of every test before.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "data" / "demo" / "summary.json").read_text())
    assert list(summary["arms"]) == [
        "acgan", "acgan+classic", "classic", "oversample", "real", "smote", "weighted",
    ]  # fmt: skip
    # So short, the arm without any balancing has hardly begun.
    assert all(arm["mean"] > 0.8 for name, arm in summary["arms"].items() if name != "real")
    assert 0.2 < summary["arms"]["real"]["mean"] < summary["arms"]["weighted"]["mean"]
    figures = pd.read_csv(tmp_path / "data" / "demo" / "fidelity.csv", keep_default_na=False)
    assert {"smote", "acgan"} <= set(figures.generator)
    peak = float(done.stdout.splitlines()[-1]) / 1e6
    assert peak <= 1.5, f"{peak:.2f} GB in the largest process"
    with sqlite3.connect(tmp_path / "data" / "mlflow.db") as base:
        ((cost,),) = base.execute("select value from latest_metrics where key = 'tracking_seconds'")
    assert cost > 0
