"""A second test set: which images it has, what it leaves unchanged, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import noise
from pictures import save as write

from augpipe.core.errors import UserError
from augpipe.core.store import load_images, load_table
from augpipe.data import sources
from augpipe.data.inspect import Inspection, inspect
from augpipe.pipeline.cache import Stage, content
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment, build, dump
from augpipe.pipeline.graph import train_and_score
from augpipe.pipeline.shift import with_shift
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.stages.score import score


def save(path: Path, seeds: range, classes: tuple[str, ...] = ("cat", "dog"), **columns: Any) -> Path:
    """An image of noise for each seed, of the classes in turn."""
    images = np.stack([noise(seed, 16, 16) for seed in seeds])
    labels = np.array([classes[seed % len(classes)] for seed in seeds])
    np.savez(path, images=images, labels=labels, **columns)
    return path


def experiment(path: Path, shift: Path | None = None, **more: Any) -> Experiment:
    source: dict[str, Any] = {"kind": "arrays", "path": str(path)}
    if shift is not None:
        source["shift"] = {"kind": "arrays", "path": str(shift)}
    values = {
        "name": "x",
        "source": source,
        "split": {"val": 0.25, "test": 0.25},
        "image": {"size": 16, "channels": 1},
        "classifier": {"width": 0.25, "steps": 3, "batch": 8, "evaluations": 1},
        "arms": [{"name": "a"}],
        "baseline": "a",
        "seeds": 1,
        "confirm": "off",
    }
    return build({**values, **more})


def inspected(experiment: Experiment) -> Inspection:
    """As `augpipe inspect` does it."""
    listing = sources.listing(experiment.source)
    inspection = inspect(listing, experiment.image, experiment.split, policy=experiment.policy)
    return with_shift(experiment, inspection, lambda done, total: None)


def refused(context: Context, experiment: Experiment, message: str) -> None:
    """A run stops with the message, and an inspection says that it would, in the same words."""
    with pytest.raises(UserError, match=message) as caught:
        prepare(context, experiment)
    assert str(caught.value) in [one.text for one in inspected(experiment).problems if one.severity == "stop"]


def test_it_is_scored_beside_test_and_changes_nothing_else(tmp_path: Path) -> None:
    first = save(tmp_path / "a.npz", range(24))
    # Four of its images are also images of the source; its own split and class order do not matter.
    split = np.array(["train", "test"] * 7)
    second = save(tmp_path / "b.npz", range(20, 34), patient=np.arange(14), split=split)
    context = Context(root=tmp_path / "store", device="cpu", threads=1)
    second_set, without = experiment(first, second), experiment(first)
    prepared, plain = prepare(context, second_set), prepare(context, without)
    assert prepared.shift is not None and plain.shift is None
    shift = load_images(prepared.shift)
    assert [shift.classes[label] for label in shift.labels] == [("cat", "dog")[seed % 2] for seed in range(24, 34)]
    assert (shift.images[:, 0] == np.stack([noise(seed, 16, 16) for seed in range(24, 34)])).all()
    assert shift.table["id"].tolist() == [f"shift/images/{at:06d}" for at in range(4, 14)]
    removed = load_table(prepared.quarantine)
    assert len(removed) == 4 and removed["reason"].str.fullmatch(r"removed from shift: equal to images/00002\d").all()
    assert any("4 images removed from shift: also in the source" in note for note in prepared.intake.notes)
    facts = inspected(second_set).facts()
    assert [row["shift"] for row in facts["classes"]] == list(shift.counts().values()) == [5, 5]
    assert any("4 images removed from shift: also in the source" in note for note in facts["notes"])
    assert inspected(second_set).quarantine()["id"].tolist() == removed["id"].tolist()
    assert "shift" not in inspected(without).facts()["classes"][0]
    # No training depends on it, and it counts in what `augpipe refresh` watches.
    assert content(prepared) == content(plain) and prepared.intake.fingerprint != plain.intake.fingerprint
    assert "shift" not in dump(without) and build(without.model_dump(mode="json")) == without
    assert build(second_set.model_dump(mode="json")) == second_set

    def call(stage: Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        return stage(context, *inputs)

    run = train_and_score(second_set, {0: prepared}, call).arms["a", 0]
    assert run.scored is not None and run.classifier is not None and run.recipe is not None
    table = load_table(run.scored.table)
    assert set(table.split) == {"val", "test", "shift"}
    alone = load_table(score(context, plain, run.classifier, run.recipe).table)
    assert table[table.split != "shift"].reset_index(drop=True).equals(alone.reset_index(drop=True))


def test_what_cannot_be_a_second_test_set(tmp_path: Path) -> None:
    first = save(tmp_path / "a.npz", range(24))
    arrays = {"kind": "arrays", "path": str(first)}
    context = Context(root=tmp_path / "store", device="cpu", threads=1)
    other = save(tmp_path / "b.npz", range(30, 39), ("cat", "dog", "cow"))
    assert prepare(context, experiment(first, other, min_images=2)).shift, "as the source's own small classes"
    refused(
        context,
        experiment(first, save(tmp_path / "c.npz", range(30, 39), ("cat",))),
        r"source\.shift has no image of dog; it needs",
    )
    refused(
        context,
        experiment(first, save(tmp_path / "d.npz", range(23, 25))),
        r"class 'dog' has no image left in source\.shift after copies",
    )
    kept = prepare(context, experiment(first, tmp_path / "d.npz", duplicates="keep"))
    assert kept.shift and len(load_images(kept.shift)) == 2
    refused(context, experiment(first, other, resplit=True), "set resplit: false")
    broken = tmp_path / "broken"
    for name in ("cat", "dog"):
        for at in range(3):
            write(broken / name / f"{at}.png", noise(90 + at, 16, 16))
        (broken / name / "x.png").write_text("x")
    folder = experiment(first, source={**arrays, "shift": {"kind": "folder", "path": str(broken)}})
    refused(context, folder, r"source\.shift: more than 5% of 8 files cannot be used")
    nested = {"kind": "arrays", "path": "x.npz", "shift": {"kind": "arrays", "path": "y.npz"}}
    with pytest.raises(UserError, match=r"source.*: shift\.shift has no effect: remove it"):
        build({**experiment(first).model_dump(mode="json"), "source": {**nested, "shift": nested}})


def test_its_paths_are_those_of_a_source(tmp_path: Path) -> None:
    config = experiment(tmp_path / "a.npz", tmp_path / "folder" / "b.npz").source
    mapped = sources.map_paths(config.model_dump(mode="json"), lambda path: f"{path}!")
    assert mapped["path"].endswith("a.npz!") and mapped["shift"]["path"].endswith("b.npz!")
    folders = {"kind": "folder", "path": str(tmp_path / "x")}
    both = experiment(tmp_path / "a.npz").model_dump(mode="json")
    placed = build({**both, "source": {**folders, "shift": {**folders, "path": str(tmp_path / "y")}}})
    assert sources.places(placed.source) == (tmp_path / "x", tmp_path / "y")
