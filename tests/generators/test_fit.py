from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from augpipe.core.checkpoint import Checkpoint
from augpipe.core.device import Runtime
from augpipe.core.errors import NotTrainedError, UserError
from augpipe.core.images import ImageSet
from augpipe.generators import fit as training
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.ticks import Fitted, Hooks, Tick


class Recorder:
    """A generator that counts what it is given."""

    def __init__(self, losses: list[float] | None = None) -> None:
        self.labels: list[int] = []
        self.steps = 0
        self.losses = losses
        self.prepared = 0
        self.rate = 1.0

    def prepare(self, train: Any) -> None:
        self.prepared += 1

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        assert images.dtype == torch.uint8
        self.labels += labels.tolist()
        self.steps += 1
        value = self.losses[self.steps - 1] if self.losses else float(self.steps)
        return {"loss": torch.tensor(value)}

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return torch.randint(0, 256, (len(labels), 1, 16, 16), generator=rng, dtype=torch.uint8)

    def lower_learning_rate(self, factor: float) -> None:
        self.rate *= factor

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "rate": self.rate}

    def load_state_dict(self, state: Any) -> None:
        self.steps, self.rate = state["steps"], state["rate"]


def config(**values: Any) -> GeneratorConfig:
    return GeneratorConfig(**{"kind": "test", "kimg": 1.0, "batch": 50, "ticks": 4, **values})


def test_the_budget_is_in_images_whatever_the_batch(here, make_shapes) -> None:
    for batch, steps in ((50, 20), (100, 10), (300, 4)):
        recorder = Recorder()
        fitted = training.fit(
            recorder, make_shapes((9, 9)), config(batch=batch), here, seed=0, hooks=Hooks(lambda g: 1.0)
        )
        assert recorder.steps == steps and recorder.prepared == 1
        assert len(fitted.ticks) == 4


def test_the_best_state_by_validation_is_kept(here, make_shapes) -> None:
    metrics = iter([3.0, 1.0, 2.0, 1.0])
    ticks: list[Tick] = []
    fitted = training.fit(
        Recorder(),
        make_shapes((9, 9)),
        config(),
        here,
        seed=0,
        hooks=Hooks(lambda g: next(metrics), lambda tick, g: ticks.append(tick) or {}),
    )
    assert fitted.state == {"steps": 10, "rate": 1.0} and fitted.best_kimg == 0.5 and fitted.best_metric == 1.0
    assert [t.best for t in ticks] == [True, True, False, False]
    assert [t.kimg for t in ticks] == [0.25, 0.5, 0.75, 1.0]
    assert ticks[0].losses == {"loss": 3.0}  # mean of steps 1 to 5


def test_classes_come_uniformly(here, make_shapes) -> None:
    recorder = Recorder()
    training.fit(recorder, make_shapes((200, 20, 2)), config(kimg=6), here, seed=0, hooks=Hooks(lambda g: 1.0))
    seen = Counter(recorder.labels)
    assert all(seen[c] == pytest.approx(2000, rel=0.1) for c in range(3))


class Failing(Recorder):
    """Gives a NaN at these steps of its life, counted over restarts."""

    def __init__(self, at: set[int]) -> None:
        super().__init__()
        self.at, self.life = at, 0

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        super().step(images, labels)
        self.life += 1
        return {"loss": torch.tensor(math.nan if self.life in self.at else 1.0)}


def run(generator: Recorder, train: ImageSet, here: Runtime, **values: Any) -> Fitted:
    return training.fit(generator, train, config(**values), here, seed=0, hooks=Hooks(lambda g: 1.0 / g.steps))


def test_a_loss_that_is_not_finite_sets_back_and_slows_down(here, make_shapes) -> None:
    # 5 steps a tick; the first failure is in the second tick, the second in its repetition.
    generator = Failing({7, 12})
    fitted = run(generator, make_shapes((9, 9)), here)
    assert generator.steps == 20 and generator.rate == 0.25  # the whole budget, at a quarter's rate
    assert [bool(t.restarted) for t in fitted.ticks] == [False, True, True, False, False, False]
    assert [t.kimg for t in fitted.ticks if not t.restarted] == [0.25, 0.5, 0.75, 1.0]
    assert "set back 2 times, first because loss is not finite at 0.5 kimg" in fitted.stopped
    assert fitted.best_kimg == 1.0


def test_after_three_restarts_the_best_so_far_is_kept(here, make_shapes) -> None:
    generator = Failing(set(range(6, 1000)))
    fitted = run(generator, make_shapes((9, 9)), here)
    assert len(fitted.ticks) == 5  # a good one, a failure, three tries
    assert fitted.best_kimg == 0.25 and fitted.state["steps"] == 5
    assert "after 3 restarts" in fitted.stopped
    with pytest.raises(NotTrainedError, match="never reached a finite"):
        run(Failing(set(range(1000))), make_shapes((9, 9)), here)


def test_a_good_tick_does_not_give_the_tries_back(here, make_shapes) -> None:
    generator = Failing({7, 17, 27, 37})
    fitted = run(generator, make_shapes((9, 9)), here, kimg=2.0, ticks=8)
    assert "after 3 restarts" in fitted.stopped and generator.rate == 0.125


def test_a_nan_is_seen_long_before_a_tick_ends(here, make_shapes) -> None:
    generator = Failing(set(range(1, 10_000)))
    with pytest.raises(UserError):
        run(generator, make_shapes((9, 9)), here, kimg=500, ticks=1)
    assert generator.life <= 4 * training.CHECK_INTERVAL


class Collapsing(Recorder):
    """Draws one and the same image of class 1 after some steps of its life."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.life = after, 0

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.life += 1
        return super().step(images, labels)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        images = super().sample(labels, rng)
        if self.after < self.life <= self.after + 5:
            images[labels == 1] = 7
        return images


def test_a_class_that_collapses_sets_back(here, make_shapes) -> None:
    generator = Collapsing(after=7)
    fitted = run(generator, make_shapes((9, 9)), here)
    assert [t.restarted for t in fitted.ticks] == ["", "class 1 collapsed at 0.5 kimg", "", "", ""]
    assert fitted.ticks[1].diversity == 0 and not fitted.ticks[1].best
    assert generator.rate == 0.5


def test_what_never_was_diverse_has_not_collapsed(here, make_shapes) -> None:
    generator = Collapsing(after=0)
    fitted = run(generator, make_shapes((9, 9)), here, ticks=4)
    assert not any(t.restarted for t in fitted.ticks)
    assert fitted.ticks[0].diversity == 0 and fitted.ticks[-1].diversity > 0.1


def test_training_ends_where_nothing_gets_better(here, make_shapes) -> None:
    metrics = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.5])
    fitted = training.fit(
        Recorder(), make_shapes((9, 9)), config(ticks=6, patience=3), here, seed=0, hooks=Hooks(lambda g: next(metrics))
    )
    assert len(fitted.ticks) == 5 and fitted.best_metric == 1.0
    assert fitted.stopped == "no new best in 3 ticks"


def test_progress_is_told_between_ticks(here, make_shapes, monkeypatch) -> None:
    monkeypatch.setattr(training, "PROGRESS_INTERVAL", 0.0)
    told: list[tuple[float, float]] = []
    hooks = Hooks(lambda g: 1.0, on_progress=lambda kimg, rate: told.append((kimg, rate)))
    training.fit(Recorder(), make_shapes((9, 9)), config(kimg=10.0, ticks=1), here, seed=0, hooks=hooks)
    assert len(told) >= 200 // training.CHECK_INTERVAL and all(rate > 0 for _, rate in told)
    assert [kimg for kimg, _ in told] == sorted(kimg for kimg, _ in told)


class Fragile(Recorder):
    """Its loss depends on the drawn classes; at the full rate it is NaN at one step. Killed after `life` steps."""

    def __init__(self, life: int = 10_000) -> None:
        super().__init__()
        self.life = life

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        super().step(images, labels)
        if len(self.labels) == 50 * self.life:
            raise KeyboardInterrupt
        fails = self.steps == 130 and self.rate == 1
        return {"loss": torch.tensor(math.nan) if fails else labels.double().mean() * self.steps}


@pytest.mark.parametrize(
    ("life", "seconds", "goes_on_at"),
    [
        (30, 10.0, 0),  # before the first look at the clock
        (70, 10.0, 64),  # within the first tick
        (70, 0.5, 0),  # 32 and 64 steps take less than 60 s
        (170, 10.0, 132),  # within the second, after the NaN: in its repetition from step 100
        (170, 0.5, 100),
    ],
)
def test_between_ticks_the_state_is_saved_by_the_clock(
    here, make_shapes, tmp_path: Path, life: int, seconds: float, goes_on_at: int
) -> None:
    """Two ticks of 100 steps. What goes on from a checkpoint within one is what was never stopped."""

    def train(generator: Recorder, checkpoint: Checkpoint | None) -> list[Any]:
        hooks = Hooks(lambda g: 1.0 / g.steps, clock=lambda: seconds * len(generator.labels) / 50)
        fitted = training.fit(
            generator, make_shapes((9, 9)), config(kimg=10.0, ticks=2), here, seed=0, hooks=hooks, checkpoint=checkpoint
        )
        ticks = [(t.kimg, t.losses, t.metric, t.restarted) for t in fitted.ticks]
        return [repr(ticks), fitted.state, fitted.best_kimg, fitted.stopped, generator.state_dict()]

    checkpoint = Checkpoint(tmp_path / "last.pt", {})
    with pytest.raises(KeyboardInterrupt):
        train(Fragile(life), checkpoint)
    state = checkpoint.load()
    assert (state["generator"]["steps"] if state else 0) == goes_on_at
    assert train(Fragile(), checkpoint) == train(Fragile(), None)


def test_without_a_budget_it_is_validated_once(here, make_shapes) -> None:
    recorder, none = Recorder(), config().model_copy(update={"kimg": 0.0})  # as of SMOTE
    fitted = training.fit(recorder, make_shapes((9, 9)), none, here, seed=0, hooks=Hooks(lambda g: 0.5))
    assert recorder.steps == 0 and fitted.best_metric == 0.5 and len(fitted.ticks) == 1


def test_batches_follow_from_the_seed(here, make_shapes) -> None:
    found = []
    for seed in (0, 0, 1):
        recorder = Recorder()
        training.fit(recorder, make_shapes((9, 9)), config(), here, seed=seed, hooks=Hooks(lambda g: 1.0))
        found.append(recorder.labels)
    assert found[0] == found[1] != found[2]


def test_more_ticks_than_steps(here, make_shapes) -> None:
    fitted = training.fit(
        Recorder(), make_shapes((9, 9)), config(kimg=0.1, batch=50, ticks=8), here, seed=0, hooks=Hooks(lambda g: 1.0)
    )
    assert [t.kimg for t in fitted.ticks] == [0.05, 0.1]
    assert all(t.images_per_second > 0 for t in fitted.ticks)
