"""fit(): the only generator loop. Budgets in kimg, validation and best-of selection every tick."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from augpipe.generators import Generator, GeneratorConfig
from augpipe.images import ImageSet
from augpipe.runtime import ClassRows, Pool, Runtime
from augpipe.seeds import torch_stream

# Lower is better; sees train and val only.
Validate = Callable[[Generator], float]


@dataclass(frozen=True)
class Tick:
    """What a tick tells: how far, mean losses since the last one, the validation metric, img/s."""

    kimg: float
    total_kimg: float
    losses: dict[str, float]
    metric: float
    best: bool
    images_per_second: float


@dataclass
class Fitted:
    """The state at the best validation metric, and the way there."""

    state: dict[str, Any]
    best_kimg: float
    best_metric: float
    ticks: list[Tick] = field(default_factory=list)
    stopped: str = "the budget is spent"


class ClassUniform:
    """Endless rows of train, class drawn uniformly, then the image within it; classes without images apart.

    Drawn by natural frequency a rare class is hardly ever seen, and its generator starves.
    """

    def __init__(self, train: ImageSet, rng: torch.Generator) -> None:
        self._rows = ClassRows(train)
        self._classes = torch.nonzero(self._rows.sizes).squeeze(1)
        self._rng = rng

    def draw(self, n: int) -> torch.Tensor:
        """int64 (n,)."""
        at = torch.randint(0, len(self._classes), (n,), generator=self._rng)
        u = torch.rand(n, generator=self._rng, dtype=torch.float64)
        return self._rows.pick(self._classes[at], u)


def fit(
    generator: Generator,
    train: ImageSet,
    budget: GeneratorConfig,
    runtime: Runtime,
    *,
    seed: int,
    validate: Validate,
    on_tick: Callable[[Tick, Generator], None] = lambda tick, generator: None,
) -> Fitted:
    """Train `generator` on `train` for `budget.kimg` and return its best state by `validate`.

    A generator without a budget is validated once, as it stands. A loss or metric that is not finite
    ends training with the best state so far; RuntimeError where there is none.
    """
    generator.prepare(train)
    pool = Pool(train, runtime)
    rows = ClassUniform(train, torch_stream(seed, "generator batches"))
    fitted = Fitted(copy.deepcopy(generator.state_dict()), 0.0, math.inf)
    seen = 0.0
    for target in _targets(budget):
        begun, before = time.perf_counter(), seen
        losses: dict[str, torch.Tensor] = {}
        steps = 0
        while seen < target:
            at = rows.draw(budget.batch)
            for name, loss in generator.step(pool.gather(at), pool.labels[at]).items():
                losses[name] = losses.get(name, torch.zeros_like(loss)) + loss
            seen += budget.batch
            steps += 1
        if steps == 0 and budget.kimg > 0:
            continue  # more ticks than steps: there is nothing new to look at
        means = {name: float(total) / steps for name, total in losses.items()}
        seconds = max(time.perf_counter() - begun, 1e-9)
        if not all(math.isfinite(value) for value in means.values()):
            fitted.stopped = f"a loss is not finite at {seen / 1000:g} kimg"
            break
        metric = validate(generator)
        best = metric < fitted.best_metric
        if best:
            fitted.state = copy.deepcopy(generator.state_dict())
            fitted.best_kimg, fitted.best_metric = seen / 1000, metric
        tick = Tick(seen / 1000, budget.kimg, means, metric, best, (seen - before) / seconds)
        fitted.ticks.append(tick)
        on_tick(tick, generator)
    if not math.isfinite(fitted.best_metric):
        raise RuntimeError(
            f"the generator never reached a finite validation metric: {fitted.stopped}"
        )
    return fitted


def _targets(budget: GeneratorConfig) -> Iterator[float]:
    """Images seen at the end of each tick."""
    if budget.kimg == 0:
        yield 0.0
        return
    for tick in range(1, budget.ticks + 1):
        yield budget.kimg * 1000 * tick / budget.ticks
