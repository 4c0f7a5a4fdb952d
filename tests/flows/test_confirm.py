"""The two stages of a run by the command: explore, then confirm with fresh seeds; and a run without the second one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from tiny import CONFIG, Ran, beside, tracking
from tiny import augpipe as command

import augpipe

# Less of everything than the first look has: what is proven is which stage says what.
SHORT = (
    "generators.acgan.kimg=0.2",
    "generators.acgan.ticks=1",
    "classifier.steps=5",
    "classifier.evaluations=1",
    "arms=[{name: real}, {name: acgan, generator: acgan, mix: {fill: 0.5, share: 0.3}}]",
    "generators.smote.kind=smote",
    "fidelity.gan_train=false",
)


def test_a_run_explores_and_then_confirms(single: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing said of it but its size: two classifiers on each generator, the verdict of the second stage. Of two
    arms none is chosen, so that the first stage's seed is one of its replicates.

    The library in this process gives the same, from the same stored results.
    """
    (tmp_path / "tiny.yaml").write_text(CONFIG.replace("confirm: off", "confirm: {generators: 3, classifiers: 2}"))
    options = [part for one in ("seeds=1", "runner.threads=1", *SHORT) for part in ("--set", one)]
    ran = command(
        tmp_path,
        "run",
        "tiny.yaml",
        "--out",
        "out",
        *options,
        AUGPIPE_HOME=str(single.home),
        MLFLOW_TRACKING_URI=tracking(tmp_path),
    )
    assert ran.status == 0, ran.err[-3000:]
    assert "confirm: 'acgan' against 'real', the only two arms" in ran.err
    assert ran.err.count("generator acgan, seed 0: best") == 1, "the first stage's is not trained again"
    assert "no verdict is possible" not in ran.err, "one seed is enough for a first look"
    summary = json.loads((ran.folder / "summary.json").read_text())
    assert summary["stage"] == "confirm" and summary["verdict"] in ran.out
    assert summary["finalists"]["with_generator"] == "acgan" and summary["seeds"] == [0]
    every = {"0": [0, 1000], "1": [1, 1001], "2": [2, 1002]}
    assert summary["confirm"]["seeds"] == every and summary["confirm"]["pooled_seeds"] == [0]
    scores = pd.read_csv(ran.folder / "confirm.csv", keep_default_na=False)
    test = scores[(scores.split == "test") & (scores.metric == "macro_recall")]
    assert sorted(test.seed[test.arm == "acgan"]) == [0, 1, 2, 1000, 1001, 1002]
    both = test.pivot(index="seed", columns="arm", values="value")
    difference = 100 * float((both["acgan"] - both["real"]).mean())
    assert abs(difference - summary["confirm"]["difference"]) < 1e-6
    assert set(pd.read_csv(ran.folder / "scores.csv")["seed"]) == {0}, "each stage has its file"
    client = MlflowClient(tracking(tmp_path))
    parent = client.search_runs(["1"], "tags.`augpipe.kind` = 'comparison'")[0]
    assert parent.data.metrics["confirm/difference"] == summary["confirm"]["difference"]
    arms = client.search_runs(["1"], "tags.`augpipe.kind` = 'arm'")
    assert {run.data.tags["augpipe.seed"] for run in arms} >= {"0", "1", "1001", "2", "1000"}
    monkeypatch.setenv("AUGPIPE_HOME", str(single.home))
    records = sorted((single.home / "store" / "records").iterdir())
    overrides = ["seeds=1", "runner.threads=1", *SHORT]
    here = augpipe.compare(augpipe.load(tmp_path / "tiny.yaml", overrides))
    assert sorted((single.home / "store" / "records").iterdir()) == records, "nothing is trained"
    own = json.loads(json.dumps(here.summary()["confirm"]))
    for values in (own, summary["confirm"]):
        del values["seconds"]
    assert own == summary["confirm"] and not here.verdict.startswith("A first look")


def test_explore_only_is_a_first_look(single: Ran, tmp_path: Path) -> None:
    """Over the finished run: the option stands over the config, and nothing is trained."""
    ran = beside(single, tmp_path, "confirm={generators: 3}", more=("--explore-only",))
    assert ran.status == 0, ran.err[-3000:]
    summary = json.loads((ran.folder / "summary.json").read_text())
    assert summary["stage"] == "explore" and "confirm: off" in summary["confirm"]["reason"]
    assert summary["verdict"].startswith("A first look, not confirmed. ")
    assert not (ran.folder / "confirm.csv").exists() and "scored" not in ran.err
