"""What the training loop reports: its ticks and its result; and the callbacks that it reports to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from augpipe.generators.protocol import Generator

# Validation metric of a generator: lower is better; computed from train and val only.
Validate = Callable[[Generator], float]

PROGRESS_INTERVAL: Final = 0.5  # seconds between calls of on_progress


@dataclass(frozen=True)
class Tick:
    """Measurements of one tick.

    kimg, total_kimg: thousands of real images seen, and the budget. losses: means since the previous tick.
    metric: validation metric. best: whether the metric is the best so far. seconds: training time so far.
    diversity: lowest ratio of generated to real diversity over classes (nan if not measured).
    restarted: why the training went back to the last good state, or "". kept: what `on_tick` returned, plain
    values.
    """

    kimg: float
    total_kimg: float
    losses: dict[str, float]
    metric: float
    best: bool
    images_per_second: float
    seconds: float = 0.0
    diversity: float = math.nan
    restarted: str = ""
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass
class Fitted:
    """Result of `fit`: the state with the best validation metric, and the ticks of the training."""

    state: dict[str, Any]
    best_kimg: float
    best_metric: float
    ticks: list[Tick] = field(default_factory=list)
    stopped: str = "the budget is spent"


def _no_values(tick: Tick, generator: Generator) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Hooks:
    """Callbacks of the loop, which itself neither logs nor measures.

    validate: returns the validation metric, lower is better. on_tick: called after validation; the loop stores what
    it returns in the tick, also across a resume. on_progress: called with thousands of images seen and images per
    second, at most every PROGRESS_INTERVAL seconds. clock: seconds, for the time between checkpoints.
    """

    validate: Validate
    on_tick: Callable[[Tick, Generator], Mapping[str, Any]] = _no_values
    on_progress: Callable[[float, float], None] = lambda kimg, rate: None
    clock: Callable[[], float] = time.monotonic
