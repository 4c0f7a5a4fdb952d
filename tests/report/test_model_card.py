"""The card of a run's models: Hugging Face's metadata block, and figures that stand in the run's tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from augpipe.report.out import check_out
from augpipe.report.results import Results
from augpipe.report.write import write


@pytest.fixture
def out(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    write(results, tmp_path / "out")
    return tmp_path / "out"


def test_the_metadata_block_is_hugging_faces(out: Path, results: Results) -> None:
    text = (out / "models" / "README.md").read_text()
    empty, block, card = text.split("---\n", 2)
    assert empty == ""
    metadata = yaml.safe_load(block)
    assert metadata["library_name"] == "augpipe" and metadata["pipeline_tag"] == "image-classification"
    assert "license" not in metadata  # nobody but the owner of the data can give one
    (entry,) = metadata["model-index"]
    (result,) = entry["results"]
    (metric,) = result["metrics"]
    arm = json.loads((out / "summary.json").read_text())["models"]["classifier.pt"]["name"]
    scores = pd.read_csv(out / "scores.csv", keep_default_na=False)
    rows = scores[(scores.arm == arm) & (scores.split == "test") & (scores.metric == "macro_recall")]
    assert metric["value"] == pytest.approx(rows.value.astype(float).mean(), abs=1e-4)
    assert result["dataset"]["split"] == "test"
    assert f"macro recall {100 * rows.value.astype(float).mean():.1f}" in card


def test_each_model_and_class_has_its_row(out: Path, results: Results) -> None:
    card = (out / "models" / "README.md").read_text()
    models = json.loads((out / "summary.json").read_text())["models"]
    for file, about in models.items():
        (row,) = [line for line in card.splitlines() if line.startswith(f"| `{file}`")]
        assert f"| {about['seed']} |" in row
    for name in (about["name"] for about in models.values() if about["kind"] == "generator"):
        assert f"Generator {name}, its images against validation" in card
    assert "## Limits" in card and "must be marked as synthetic" in card
    check_out(out)  # a run with a card may be replaced
