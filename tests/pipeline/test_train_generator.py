"""The stages that train generators, by hand: parts, joins, and going on after a stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import make_work

from augpipe.core.store import load_images, load_state, load_table
from augpipe.generators import families
from augpipe.generators import fit as training
from augpipe.pipeline.records import TrainingSpec
from augpipe.pipeline.stages.train_generator import specs, starts_pretrained

DCGAN = "generators={d: {kind: dcgan, kimg: 0.3, ticks: 3, width: 4, latent: 8, batch: 25, per_class: true, %s}}"
ARMS = "arms=[{name: real}, {name: d, generator: d}]"


def test_a_generator_of_all_classes_is_one_part(tmp_path: Path) -> None:
    work = make_work(tmp_path)
    prepared = work.prepare()
    whole = TrainingSpec(name="acgan", seed=0)
    assert specs(prepared, work.experiment.generators["acgan"], whole) == (None, [whole])


@pytest.mark.parametrize(("pretrain", "below", "first"), [(0, 200, False), (0.3, 5, False), (0.3, 50, True)])
def test_small_classes_start_from_a_model_of_all(tmp_path: Path, pretrain: float, below: int, first: bool) -> None:
    work = make_work(tmp_path, ARMS, DCGAN % f"pretrain: {pretrain}, pretrain_below: {below}")
    prepared = work.prepare()
    options = work.experiment.generators["d"]
    together, parts = specs(prepared, options, TrainingSpec(name="d", seed=0))
    assert (together is not None) == first and [p.label for p in parts] == list(range(10))
    assert parts[3].scope == "class 3, "
    if first:
        small = [p.label for p in parts if starts_pretrained(prepared, options, p)]
        assert small == [7, 8, 9]  # those that keep a tenth: 14 images


def test_parts_are_joined_into_one_generator_of_every_class(tmp_path: Path) -> None:
    work = make_work(tmp_path, ARMS, DCGAN % "pretrain: 0.3, pretrain_below: 50")
    prepared = work.prepare()
    reference = work.reference(prepared)
    options = work.experiment.generators["d"]
    first, parts = specs(prepared, options, TrainingSpec(name="d", seed=0))
    assert first is not None
    start = work.generator(prepared, reference, first)
    assert start.class_model == "all" and load_images(start.samples).classes == ("all",)
    done = [work.generator(prepared, reference, part, start if part.label == 9 else None) for part in parts]
    joined = work.join(prepared, done)
    assert joined.class_model == "" and joined.best_kimg == pytest.approx(sum(d.best_kimg for d in done))
    assert load_images(joined.samples).labels.tolist() == [c for c in range(10) for _ in range(10)]
    kids = load_table(joined.history)
    assert set(kids.metric) == {f"val_kid/{c}" for c in prepared.classes}
    here = work.runtime
    whole, problem = families.unpack(load_state(joined.checkpoint), here, work.store.images)
    assert problem.classes == prepared.classes
    # Each label is drawn by the model that was trained for it.
    for label in (0, 9):
        alone, _ = families.unpack(load_state(done[label].checkpoint), here, work.store.images)
        images = [
            g.sample(torch.tensor([asked] * 3), torch.Generator().manual_seed(4))
            for g, asked in ((whole, label), (alone, 0))
        ]
        assert torch.equal(*images)
    made = work.synthetic(prepared, reference, joined, {9: 7, 2: 1}, False)
    assert load_images(made.images).counts()[9] == 7


def test_a_stopped_stage_goes_on_from_its_last_tick(tmp_path: Path, monkeypatch) -> None:
    work = make_work(tmp_path, "generators.acgan.ticks=4")
    prepared = work.prepare()
    reference = work.reference(prepared)
    whole = work.generator(prepared, reference, "acgan")
    folder = tmp_path / "store" / "training"
    assert list(folder.iterdir()) == []  # a finished training leaves nothing to resume

    ticks: list[float] = []
    look = training._Loop.tick

    def stopped(self, target) -> None:
        if len(ticks) == 2:
            raise KeyboardInterrupt
        ticks.append(target)
        look(self, target)

    monkeypatch.setattr(training._Loop, "tick", stopped)
    with pytest.raises(KeyboardInterrupt):
        work.generator(prepared, reference, "acgan")
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(training._Loop, "tick", lambda *a: ticks.append(a[1]) or look(*a))
    again = work.generator(prepared, reference, "acgan")
    assert ticks == [250.0, 500.0, 750.0, 1000.0]  # none of them twice
    assert again.checkpoint == whole.checkpoint and again.samples == whole.samples
    assert [ref.sha256 for _, ref in again.previews] == [ref.sha256 for _, ref in whole.previews]


def test_a_class_that_val_lacks_is_judged_by_train(tmp_path: Path) -> None:
    work = make_work(tmp_path, ARMS, DCGAN % "pretrain: 0")
    prepared = work.prepare()
    val = load_images(prepared.splits.val)
    lacking = work.store.put_images(val, np.flatnonzero(val.labels != 4))
    splits = prepared.splits.model_copy(update={"val": lacking})
    prepared = prepared.model_copy(update={"splits": splits})
    reference = work.reference(prepared)
    part = TrainingSpec(name="d", seed=0, label=4, class_name="4")
    trained = work.generator(prepared, reference, part)
    assert np.isfinite(trained.best_metric)


def test_a_joined_generators_cost_is_all_of_its_models(tmp_path: Path) -> None:
    """That of the pooled model too, from which some start."""
    work = make_work(tmp_path, ARMS, DCGAN % "pretrain: 0.3, pretrain_below: 50")
    prepared = work.prepare()
    reference = work.reference(prepared)
    first, (one, *_) = specs(prepared, work.experiment.generators["d"], TrainingSpec(name="d", seed=0))
    assert first is not None
    start = work.generator(prepared, reference, first)
    alone = work.generator(prepared, reference, one)
    joined, without = (work.join(prepared, [alone], s) for s in (start, None))
    assert joined.checkpoint == without.checkpoint
    assert joined.best_kimg == pytest.approx(without.best_kimg + start.best_kimg)
    assert joined.time.seconds > start.time.seconds + alone.time.seconds
