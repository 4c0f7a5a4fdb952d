"""The nightly job on a folder that grows: nothing new, a better model, a worse one, a champion that is not ours."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from tiny import Ran, augpipe

from augpipe.core.images import ImageSet
from flows.registry import Registry

CONFIG = """
name: nightly
source: {kind: folder, path: pictures}
image: {size: 16, channels: 1}
generators: {smote: {kind: smote}}
classifier: {width: 0.25, steps: 40, batch: 32, evaluations: 2}
arms:
  - {name: real}
  - {name: smote, generator: smote, mix: {fill: auto}}
baseline: real
seeds: 1
fidelity: {images: 8, gan_train: false}
runner: {workers: 1, threads: 1}
"""
WEAK = ("--set", "classifier.steps=1", "--set", "classifier.evaluations=1")
PLAIN = ("--set", "generators={}", "--set", "arms=[{name: real}]", "--set", "seeds=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("nightly")
    (place / "nightly.yaml").write_text(CONFIG)
    return place


@pytest.fixture
def client(place: Path) -> Iterator[MlflowClient]:
    uri = f"sqlite:///{place / 'data' / 'mlflow.db'}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield MlflowClient(uri)
    mlflow.set_tracking_uri(before)


def look(place: Path, *more: str) -> Ran:
    done = augpipe(place, "refresh", "nightly.yaml", "--out", "out", *more)
    assert done.status == 0, done.err[-3000:]
    return done


def version(client: MlflowClient, kind: str = "classifier") -> str:
    found = Registry(client, f"nightly-{kind}").champion()
    assert found is not None
    return str(found.version)


def test_night_after_night(
    place: Path, client: MlflowClient, make_shapes: Callable[..., ImageSet], make_folder: Callable[..., Path]
) -> None:
    make_folder(place / "pictures", make_shapes((40, 30, 20), seed=1))
    first = look(place, *WEAK)
    assert "promoted" in first.out and "there was no champion" in first.out
    assert version(client) == "1"
    # Nothing new: said, and nothing done.
    before = (place / "out" / "summary.json").stat()
    runs = len(client.search_runs([client.get_experiment_by_name("nightly").experiment_id]))  # type: ignore[union-attr]
    same = look(place, *WEAK)
    assert "unchanged since the last check" in same.out
    assert (place / "out" / "summary.json").stat() == before
    assert len(client.search_runs([client.get_experiment_by_name("nightly").experiment_id])) == runs  # type: ignore[union-attr]
    # More pictures, and a model that learns from them.
    for name in ("c0", "c1", "c2"):
        for file in (place / "pictures" / name).iterdir():
            file.rename(file.with_name(f"first-{file.name}"))
    make_folder(place / "pictures", make_shapes((60, 60, 60), seed=2))
    better = look(place)
    assert "promoted" in better.out and "shown to be better: +" in better.out
    assert version(client) == "2"
    tags = client.get_model_version("nightly-classifier", "2").tags
    assert tags["augpipe.promotion"].startswith("promoted: ")
    assert json.loads((place / "out" / "summary.json").read_text())["data"]["fingerprint"] == tags["augpipe.data"]
    # In service is what the registry hands out.
    served = mlflow.pyfunc.load_model("models:/nightly-classifier@champion")
    shapes = make_shapes((8, 8, 8), seed=9)
    named = [shapes.classes[c] for c in shapes.labels]
    assert np.mean(served.predict(shapes.images)["label"] == named) > 0.8
    # Looked at again, for another rule, val chooses the champion again: its record stays.
    again = look(place, "--set", "promotion.rule=not worse")
    assert "the champion stays: val chose it again" in again.out and version(client) == "2"
    assert client.get_model_version("nightly-classifier", "2").tags == tags
    # More pictures, and a training that came to nothing.
    for name in ("c0", "c1", "c2"):
        for file in (place / "pictures" / name).glob("0*"):
            file.rename(file.with_name(f"second-{file.name}"))
    make_folder(place / "pictures", make_shapes((60, 60, 60), seed=3))
    worse = look(place, *WEAK)
    assert "kept the champion over" in worse.out and "not shown to be better" in worse.out
    assert version(client) == "2"
    assert client.get_model_version("nightly-classifier", "3").tags["augpipe.promotion"].startswith("kept out: ")


def test_classes_that_changed_cannot_be_compared(
    place: Path, client: MlflowClient, make_shapes: Callable[..., ImageSet], make_folder: Callable[..., Path]
) -> None:
    champion = version(client)
    (place / "pictures" / "c2").rename(place / "pictures" / "d2")
    found = look(place, *WEAK)
    assert "they cannot be compared" in found.out and '"d2"' in found.out
    assert version(client) == champion
    (place / "pictures" / "d2").rename(place / "pictures" / "c2")


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("holds", ["a pickle that runs code", "nothing of ours", "weights of another net"])
def test_a_champion_that_is_not_ours_is_refused_and_not_run(
    place: Path, client: MlflowClient, tmp_path: Path, holds: str
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    mark = tmp_path / "ran"
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": {"loader_module": "bomb"}}}))
    (model / "bomb.py").write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()")
    if holds == "a pickle that runs code":
        (model / "weights.pt").write_bytes(pickle.dumps(Bomb(mark)))
    elif holds == "weights of another net":
        torch.save(torch.nn.Linear(2, 2).state_dict(), model / "weights.pt")
    registry = Registry(client, "nightly-classifier")
    champion = registry.champion()
    assert champion is not None
    foreign = client.create_model_version(registry.name, model.as_uri(), tags=champion.tags)
    registry.promote(foreign)
    done = augpipe(place, "refresh", "nightly.yaml", "--out", "out", *WEAK, *PLAIN, "--set", f"split.seed={len(holds)}")
    assert done.status == 2, done.err[-3000:]
    last = done.err.strip().splitlines()[-1]
    assert "'nightly-classifier' is not an augpipe model" in last and "champion" in last
    assert not mark.exists()
    registry.promote(champion)
