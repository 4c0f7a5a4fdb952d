from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from augpipe import training
from augpipe.generators import GeneratorConfig
from augpipe.images import ImageSet, provenance
from augpipe.training import ClassUniform


class Recorder:
    """A generator that counts what it is given."""

    def __init__(self, losses: list[float] | None = None) -> None:
        self.labels: list[int] = []
        self.steps = 0
        self.losses = losses
        self.prepared = 0

    def prepare(self, train: Any) -> None:
        self.prepared += 1

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        assert images.dtype == torch.uint8
        self.labels += labels.tolist()
        self.steps += 1
        value = self.losses[self.steps - 1] if self.losses else float(self.steps)
        return {"loss": torch.tensor(value)}

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        raise AssertionError("the loop does not sample by itself")

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Any) -> None:
        self.steps = state["steps"]


def config(**values: Any) -> GeneratorConfig:
    return GeneratorConfig(**{"kind": "test", "kimg": 1.0, "batch": 50, "ticks": 4, **values})


def test_the_budget_is_in_images_whatever_the_batch(here, make_shapes) -> None:
    for batch, steps in ((50, 20), (100, 10), (300, 4)):
        recorder = Recorder()
        fitted = training.fit(
            recorder, make_shapes((9, 9)), config(batch=batch), here, seed=0, validate=lambda g: 1.0
        )
        assert recorder.steps == steps and recorder.prepared == 1
        assert len(fitted.ticks) == 4


def test_the_best_state_by_validation_is_kept(here, make_shapes) -> None:
    metrics = iter([3.0, 1.0, 2.0, 1.0])
    ticks: list[training.Tick] = []
    fitted = training.fit(
        Recorder(), make_shapes((9, 9)), config(), here, seed=0,
        validate=lambda g: next(metrics), on_tick=lambda tick, g: ticks.append(tick),
    )  # fmt: skip
    assert fitted.state == {"steps": 10} and fitted.best_kimg == 0.5 and fitted.best_metric == 1.0
    assert [t.best for t in ticks] == [True, True, False, False]
    assert [t.kimg for t in ticks] == [0.25, 0.5, 0.75, 1.0]
    assert ticks[0].losses == {"loss": 3.0}  # mean of steps 1 to 5


def test_classes_come_uniformly(here, make_shapes) -> None:
    recorder = Recorder()
    training.fit(
        recorder, make_shapes((200, 20, 2)), config(kimg=6), here, seed=0, validate=lambda g: 1.0
    )
    seen = Counter(recorder.labels)
    assert all(seen[c] == pytest.approx(2000, rel=0.1) for c in range(3))


def test_rows_within_a_class_come_uniformly() -> None:
    labels = np.array([0, 1, 1, 0, 3, 1, 1])
    train = ImageSet(
        np.zeros((7, 1, 4, 4), np.uint8), labels, ("a", "b", "c", "d"), provenance(list("abcdefg"))
    )
    rows = ClassUniform(train, torch.Generator().manual_seed(0)).draw(30_000)
    seen = Counter(rows.tolist())
    for row, label in enumerate(labels.tolist()):
        share = 1 / 3 / {0: 2, 1: 4, 3: 1}[label]
        assert seen[row] / 30_000 == pytest.approx(share, rel=0.1)


def test_a_loss_that_is_not_finite_ends_training_with_the_best_so_far(here, make_shapes) -> None:
    losses = [1.0] * 7 + [float("nan")] * 13
    fitted = training.fit(
        Recorder(losses), make_shapes((9, 9)), config(), here, seed=0, validate=lambda g: 1.0
    )
    assert fitted.state == {"steps": 5} and "not finite at 0.5 kimg" in fitted.stopped
    with pytest.raises(RuntimeError, match="never reached a finite"):
        training.fit(
            Recorder([float("nan")] * 20), make_shapes((9, 9)), config(), here, seed=0,
            validate=lambda g: 1.0,
        )  # fmt: skip


def test_without_a_budget_it_is_validated_once(here, make_shapes) -> None:
    recorder = Recorder()
    fitted = training.fit(
        recorder, make_shapes((9, 9)), config(kimg=0), here, seed=0, validate=lambda g: 0.5
    )
    assert recorder.steps == 0 and fitted.best_metric == 0.5 and len(fitted.ticks) == 1


def test_batches_follow_from_the_seed(here, make_shapes) -> None:
    found = []
    for seed in (0, 0, 1):
        recorder = Recorder()
        training.fit(
            recorder, make_shapes((9, 9)), config(), here, seed=seed, validate=lambda g: 1.0
        )
        found.append(recorder.labels)
    assert found[0] == found[1] != found[2]


def test_more_ticks_than_steps(here, make_shapes) -> None:
    fitted = training.fit(
        Recorder(), make_shapes((9, 9)), config(kimg=0.1, batch=50, ticks=8), here, seed=0,
        validate=lambda g: 1.0,
    )  # fmt: skip
    assert [t.kimg for t in fitted.ticks] == [0.05, 0.1]
    assert all(t.images_per_second > 0 for t in fitted.ticks)
