"""What stages hand to each other: frozen configs and Refs, never tensors, modules or data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, SerializeAsAny

from augpipe import runtime
from augpipe.config import Experiment
from augpipe.generators import Problem
from augpipe.images import ImageSpec
from augpipe.runtime import Runtime
from augpipe.store import Ref, SplitRefs, Store


class Job(BaseModel, frozen=True):
    """What every task of a run knows."""

    experiment: SerializeAsAny[Experiment]
    store: Path
    progress: Path
    threads: int

    def start(self) -> tuple[Store, Runtime]:
        """The store, and this process's runtime."""
        runner = self.experiment.runner
        return Store(self.store), runtime.start(runner.device, runner.precision, self.threads)


class Timed(BaseModel, frozen=True):
    """When a stage began (seconds since 1970) and how long it took."""

    began: float
    seconds: float


class IntakeRecord(BaseModel, frozen=True):
    """What came in from the source, and what did not; fingerprint: of the source's images alone."""

    fingerprint: str
    images: int
    quarantined: int
    removed: int  # taken from a side of the split, because they are also on a later one
    ignored: Mapping[str, int]  # suffix → files that are no pictures
    split: str
    groups: int | None
    notes: tuple[str, ...]


class Prepared(BaseModel, frozen=True):
    """The split, its counts, and how many synthetic images each arm's `fill` comes to."""

    data: Ref
    splits: SplitRefs
    classes: tuple[str, ...]
    size: int
    channels: int
    counts: Mapping[str, Mapping[int, int]]
    plans: Mapping[str, Mapping[int, int]]
    fingerprint: str
    intake: IntakeRecord
    quarantine: Ref  # id, class, what, reason
    time: Timed

    @property
    def problem(self) -> Problem:
        """What a generator is made for."""
        return Problem(ImageSpec(self.size, self.channels), self.classes)


class TrainedGenerator(BaseModel, frozen=True):
    """A generator at its best moment by val, how it got there, and grids with fixed latents."""

    name: str
    seed: int
    checkpoint: Ref
    history: Ref  # kimg, seconds, metric, value
    previews: tuple[tuple[float, Ref], ...]
    samples: Ref
    best_kimg: float
    best_metric: float
    stopped: str
    time: Timed


class Synthesised(BaseModel, frozen=True):
    """Images of one generator and seed for one plan."""

    images: Ref
    time: Timed


class TrainedClassifier(BaseModel, frozen=True):
    """A classifier at its best moment by val."""

    arm: str
    seed: int
    state: Ref
    history: Ref  # step, metric, value
    best_step: int
    time: Timed


class Scored(BaseModel, frozen=True):
    """Scores on val and test, and the probabilities behind them."""

    arm: str
    seed: int
    table: Ref  # split, metric, class, value
    probabilities: Ref
