"""The demo's own command as `make demo` runs it, shortened; `tests/benchmarks/bench_demo.py` runs it whole."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from tiny import ROOT, augpipe

SHORT = (
    "seeds=1",
    "classifier.steps=100",
    "classifier.evaluations=2",
    "generators.acgan.kimg=3",
    "generators.acgan.ticks=2",
    "fidelity.images=40",
    "runner.workers=1",
    "runner.threads=1",
)


def test_the_demo(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    sets = [part for one in SHORT for part in ("--set", one)]
    done = augpipe(tmp_path, "run", "configs/digits.yaml", "--out", "data/demo", *sets)
    assert done.status == 0, done.err[-3000:]
    summary = json.loads((tmp_path / "data" / "demo" / "summary.json").read_text())
    assert list(summary["arms"]) == ["acgan", "acgan+classic", "classic", "oversample", "real", "smote", "weighted"]
    # So short, the arm without any balancing has hardly begun.
    assert all(arm["mean"] > 0.8 for name, arm in summary["arms"].items() if name != "real")
    assert 0.2 < summary["arms"]["real"]["mean"] < summary["arms"]["weighted"]["mean"]
    figures = pd.read_csv(tmp_path / "data" / "demo" / "fidelity.csv", keep_default_na=False)
    assert {"smote", "acgan"} <= set(figures.generator)
