"""Which file of a folder is a model, and what it says of itself."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from augpipe.core.errors import UserError
from augpipe.pipeline.model_places import head_of, model_file


def files(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"x")
    return place


def test_a_runs_folder_has_its_classifier_and_generators(tmp_path: Path) -> None:
    run = files(tmp_path, "models/classifier.pt", "models/generator-a.pt", "models/generator-b.pt")
    assert model_file(run, "classifier").name == "classifier.pt"
    assert model_file(run / "models", "classifier").name == "classifier.pt"
    assert model_file(run, "generator", "b").name == "generator-b.pt"
    with pytest.raises(UserError, match="choose one with --generator: a, b"):
        model_file(run, "generator")
    with pytest.raises(UserError, match=r"unknown generator 'x'.*choose from a, b"):
        model_file(run, "generator", "x")


def test_a_training_has_its_checkpoint_and_other_folders_nothing(tmp_path: Path) -> None:
    trained = files(tmp_path / "trained", "checkpoint.pt")
    assert model_file(trained, "generator") == trained / "checkpoint.pt"
    for place, kind in ((trained, "classifier"), (files(tmp_path / "x", "y"), "generator")):
        with pytest.raises(UserError, match=f"holds no {kind}"):
            model_file(place, kind)
    with pytest.raises(UserError, match="no file or folder"):
        model_file(tmp_path / "nowhere", "generator")


def test_reading_what_a_file_says_of_itself_runs_none_of_its_code(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"augpipe": "generator", "state": Harmful()}))
    assert head_of(tmp_path / "model.pt") == {"augpipe": "generator", "state": None}
    assert not (tmp_path / "run").exists()
    (tmp_path / "model.pt").write_bytes(b"PK\3\4")
    assert head_of(tmp_path / "model.pt") == {} == head_of(tmp_path / "nowhere")
