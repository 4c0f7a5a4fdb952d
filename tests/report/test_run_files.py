"""Predictions and models that a run leaves, from results made by hand: no training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from stored_results import CLASSES

from augpipe.pipeline import model_files
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.runs import Runs
from augpipe.report.collect import collect
from augpipe.report.results import Results
from augpipe.report.write import write


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))


def test_predictions_are_a_row_for_each_arm_seed_and_image(results: Results, tmp_path: Path) -> None:
    write(results, tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert len(rows) == 3 * len(results.experiment.seeds) * (24 + 60)  # arms, val and test
    assert rows.columns.tolist()[:7] == ["arm", "seed", "split", "id", "true", "predicted", "probability"]
    assert rows.columns.tolist()[7:] == [f"probability_{name}" for name in CLASSES]
    test = rows[(rows.split == "test") & (rows.arm == "gan") & (rows.seed == 0)]
    assert test.id.tolist() == results.splits["test"].table["id"].tolist()
    recalls = (test.true == test.predicted).groupby(test.true).mean()
    rate = results.scores.query("arm == 'gan' and seed == 0 and split == 'test'")
    macro = rate[rate.metric == "macro_recall"].value.item()
    assert recalls.mean() == pytest.approx(macro)


def test_models_are_the_best_on_val(stored: tuple[Experiment, Runs], tmp_path: Path) -> None:
    experiment, runs = stored
    generators = {
        key: replace(run, trained=run.trained.model_copy(update={"best_metric": 3.0 - key[1]}))
        for key, run in runs.generators.items()
    }
    results = collect(experiment, replace(runs, generators=generators), 1.0)
    write(results, tmp_path / "out")
    models = json.loads((tmp_path / "out" / "summary.json").read_text())["models"]
    val = results.scores.query("split == 'val' and metric == 'macro_recall'")
    best = val[val.arm == val.groupby("arm").value.mean().idxmax()]
    classifier = models["classifier.pt"]
    assert (classifier["name"], classifier["seed"]) == (best.arm.iloc[0], int(best.seed[best.value.idxmax()]))
    assert models["generator-gan.pt"]["seed"] == max(experiment.seeds)
    assert {p.name for p in (tmp_path / "out" / "models").iterdir()} == {*models, "README.md"}
    content = torch.load(tmp_path / "out" / "models" / "classifier.pt", weights_only=True)
    assert content["classes"] == list(CLASSES)
    assert content["image"]["size"] == 16 and content["image"]["channels"] == 1


def test_a_generator_whose_training_set_is_too_large_is_named(results: Results, tmp_path: Path) -> None:
    def too_large() -> dict[str, Any]:
        raise model_files.NotWrittenError("too large")

    models = tuple(replace(model, content=too_large) for model in results.models)
    write(replace(results, models=models), tmp_path / "out")
    about = json.loads((tmp_path / "out" / "summary.json").read_text())["models"]
    assert {entry["not_written"] for entry in about.values()} == {"too large"}
    assert [p.name for p in (tmp_path / "out" / "models").iterdir()] == ["README.md"]
    assert "too large" in (tmp_path / "out" / "models" / "README.md").read_text()
