"""The demo's own command as `make demo` runs it, with one seed in place of three."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from tiny import ROOT, environment

# Runs a command; the last line is the processor seconds and the peak (kB) of it and those it waited for.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(status)
"""


def test_the_demo(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    begun = time.perf_counter()
    command = [
        str(Path(sys.executable).parent / "augpipe"),
        "run",
        "configs/digits.yaml",
        "--out",
        "data/demo",
        "--set",
        "seeds=1",
    ]
    # Measured by a small process in between: a child starts with the peak of whom it was forked from, and
    # this one's is that of every test before.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "data" / "demo" / "summary.json").read_text())
    assert list(summary["arms"]) == [
        "acgan", "acgan+classic", "classic", "oversample", "real", "smote", "weighted",
    ]  # fmt: skip
    # Far above chance in every arm, and the generator draws what it is asked for.
    assert all(arm["mean"] > 0.8 for arm in summary["arms"].values())
    figures = pd.read_csv(tmp_path / "data" / "demo" / "fidelity.csv", keep_default_na=False)
    own = figures[(figures.generator == "acgan") & (figures["class"] == "")]
    assert float(own.set_index("metric").value["agreement"]) > 0.9
    # At most 4 minutes of 2 cores for three seeds. In processor time: on a shared machine wall time is also others'.
    spent, largest = map(float, done.stdout.splitlines()[-1].split())
    assert spent <= 2 * 240 / 3, f"{spent:.0f} s of processor time, {seconds:.0f} s in all"
    peak = largest / 1e6
    assert peak <= 1.5, f"{peak:.2f} GB in the largest process"
    # Tracking costs less than 2% of the run.
    with sqlite3.connect(tmp_path / "data" / "mlflow.db") as base:
        ((cost,),) = base.execute("select value from latest_metrics where key = 'tracking_seconds'")
    assert cost < 0.02 * seconds, f"tracking took {cost:.1f} of {seconds:.0f} s"
