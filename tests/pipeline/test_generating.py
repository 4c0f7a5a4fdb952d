"""The stages that train generators, by hand: parts, joins, and going on after a stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import job, silent

from augpipe.core.store import load_images, load_state, load_table
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.pipeline import stages
from augpipe.pipeline.records import Part
from augpipe.pipeline.stages import generators as generating
from augpipe.pipeline.stages import samples as judging

DCGAN = "generators={d: {kind: dcgan, kimg: 0.3, ticks: 3, width: 4, latent: 8, batch: 25, per_class: true, %s}}"
ARMS = "arms=[{name: real}, {name: d, generator: d}]"


def test_a_generator_of_all_classes_is_one_part(tmp_path: Path) -> None:
    work = job(tmp_path)
    prepared = stages.prepare(work)
    whole = Part(name="acgan", seed=0)
    assert generating.parts_of(work, prepared, whole) == (None, [whole])


@pytest.mark.parametrize(("pretrain", "below", "first"), [(0, 200, False), (0.3, 5, False), (0.3, 50, True)])  # fmt: skip
def test_small_classes_start_from_a_model_of_all(
    tmp_path: Path, pretrain: float, below: int, first: bool
) -> None:
    work = job(tmp_path, ARMS, DCGAN % f"pretrain: {pretrain}, pretrain_below: {below}")
    prepared = stages.prepare(work)
    together, parts = generating.parts_of(work, prepared, Part(name="d", seed=0))
    assert (together is not None) == first and [p.label for p in parts] == list(range(10))
    assert parts[3].told == "class 3, "
    if first:
        small = [p.label for p in parts if generating.is_small(work, prepared, p)]
        assert small == [7, 8, 9]  # those that keep a tenth: 14 images


def test_parts_are_joined_into_one_generator_of_every_class(tmp_path: Path) -> None:
    work = job(tmp_path, ARMS, DCGAN % "pretrain: 0.3, pretrain_below: 50")
    prepared = stages.prepare(work)
    domain = stages.train_features(work, prepared, 0)
    first, parts = generating.parts_of(work, prepared, Part(name="d", seed=0))
    assert first is not None
    start = generating.train_generator(work, prepared, domain, first, report=silent)
    assert start.part == "all" and load_images(start.samples).classes == ("all",)
    done = []
    for part in parts:
        own = part.model_copy(update={"start": start.checkpoint if part.label == 9 else None})
        done.append(generating.train_generator(work, prepared, domain, own, report=silent))
    joined = generating.join_generators(work, prepared, done)
    assert joined.part == "" and joined.best_kimg == pytest.approx(sum(d.best_kimg for d in done))
    assert load_images(joined.samples).labels.tolist() == [c for c in range(10) for _ in range(10)]
    kids = load_table(joined.history)
    assert set(kids.metric) == {f"val_kid/{c}" for c in prepared.classes}
    store, here = work.start()
    whole, problem = families.unpack(load_state(joined.checkpoint), here, store.images)
    assert problem.classes == prepared.classes
    # Each label is drawn by the model that was trained for it.
    for label in (0, 9):
        alone, _ = families.unpack(load_state(done[label].checkpoint), here, store.images)
        images = [
            g.sample(torch.tensor([asked] * 3), torch.Generator().manual_seed(4))
            for g, asked in ((whole, label), (alone, 0))
        ]
        assert torch.equal(*images)
    made = judging.synthesise(work, prepared, domain, joined, {9: 7, 2: 1}, False)
    assert load_images(made.images).counts()[9] == 7


def test_a_stopped_stage_goes_on_from_its_last_tick(tmp_path: Path, monkeypatch) -> None:
    work = job(tmp_path, "generators.acgan.ticks=4")
    prepared = stages.prepare(work)
    domain = stages.train_features(work, prepared, 0)
    part = Part(name="acgan", seed=0)
    whole = generating.train_generator(work, prepared, domain, part, report=silent)
    folder = tmp_path / "store" / "training"
    assert list(folder.iterdir()) == []  # a finished training leaves nothing to resume

    ticks: list[float] = []
    look = training._Loop.tick

    def stopped(self, target, checkpoint) -> None:
        if len(ticks) == 2:
            raise KeyboardInterrupt
        ticks.append(target)
        look(self, target, checkpoint)

    monkeypatch.setattr(training._Loop, "tick", stopped)
    with pytest.raises(KeyboardInterrupt):
        generating.train_generator(work, prepared, domain, part, report=silent)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(training._Loop, "tick", lambda *a: ticks.append(a[1]) or look(*a))
    again = generating.train_generator(work, prepared, domain, part, report=silent)
    assert ticks == [250.0, 500.0, 750.0, 1000.0]  # none of them twice
    assert again.checkpoint == whole.checkpoint and again.samples == whole.samples
    assert [ref.sha256 for _, ref in again.previews] == [ref.sha256 for _, ref in whole.previews]


def test_a_class_that_val_lacks_is_judged_by_train(tmp_path: Path) -> None:
    work = job(tmp_path, ARMS, DCGAN % "pretrain: 0")
    prepared = stages.prepare(work)
    store, _ = work.start()
    val = load_images(prepared.splits.val)
    lacking = store.put_images(val, np.flatnonzero(val.labels != 4))
    splits = prepared.splits.model_copy(update={"val": lacking})
    prepared = prepared.model_copy(update={"splits": splits})
    domain = stages.train_features(work, prepared, 0)
    part = Part(name="d", seed=0, label=4, of="4")
    trained = generating.train_generator(work, prepared, domain, part, report=silent)
    assert np.isfinite(trained.best_metric)
