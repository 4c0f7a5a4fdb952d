"""What stages hand to each other: frozen configs and Refs, never tensors, modules or data sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import BaseModel, SerializeAsAny

from augpipe.classifiers.plans import Share
from augpipe.core import device as runtime
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, ImageSpec
from augpipe.core.store import Ref, SplitRefs, Store, load_images
from augpipe.data import leaks
from augpipe.generators.protocol import Problem
from augpipe.pipeline.experiment import Experiment


class Job(BaseModel, frozen=True):
    """What every task of a run knows. fresh: whether nothing is recalled from earlier runs (see `caching`)."""

    experiment: SerializeAsAny[Experiment]
    store: Path
    progress: Path
    threads: int
    fresh: bool = False

    def only(self, settings: Collection[str], generators: Collection[str]) -> Job:
        """The same, but of the experiment nothing is there besides `settings`, these generators and the runner.

        Whatever reads something else meets an AttributeError, so that no result can follow from it.
        """
        whole = self.experiment
        kept = {name: getattr(whole, name) for name in (*settings, "runner")}
        kept["generators"] = {name: whole.generators[name] for name in sorted(generators)}
        part: Experiment = cast(Any, Experiment).model_construct()
        object.__setattr__(part, "__dict__", kept)
        return self.model_copy(update={"experiment": part})

    def for_a_task(self) -> Job:
        """Without the arms: each task is handed the one it needs, and thousands of others with it would take longest."""
        rest = set(type(self.experiment).model_fields) - {"arms", "generators", "runner"}
        return self.only(sorted(rest), self.experiment.generators)

    def settings(self, names: Collection[str]) -> dict[str, Any]:
        """These fields of the experiment as plain values, each by its concrete type."""
        return self.experiment.model_dump(mode="json", include=set(names))

    def start(self) -> tuple[Store, Runtime]:
        """The store, and this process's runtime."""
        runner = self.experiment.runner
        return Store(self.store), runtime.start(runner.device, runner.precision, self.threads)


Report = Callable[[str, float], None]  # a few words, and how far


class Clock:
    """A stage's stop-watch."""

    def __init__(self) -> None:
        self._began, self._start = time.time(), time.perf_counter()

    def stop(self) -> Timed:
        """Since the clock was made."""
        return Timed(began=self._began, seconds=time.perf_counter() - self._start)


class Record(BaseModel, frozen=True):
    """What a stage hands on. uncounted: fields that what is made of it does not follow from."""

    uncounted: ClassVar[frozenset[str]] = frozenset({"time"})


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


class Prepared(Record, frozen=True):
    """The split, its counts, and how many synthetic images each arm's `fill` comes to."""

    uncounted = frozenset({"plans", "fingerprint", "intake", "quarantine", "time"})

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

    def for_a_task(self) -> Prepared:
        """Without the plans, which a task is handed its own of."""
        return self.model_copy(update={"plans": {}})

    def refuse_leaks(self, learned: ImageSet, what: str) -> None:
        """LeakError where `learned` holds, or was made from, an image of val or test: asked before each training."""
        held_out = {side: load_images(getattr(self.splits, side)) for side in ("val", "test")}
        leaks.check(learned, load_images(self.data), held_out, what)


class Part(Record, frozen=True):
    """What one training makes: a generator of all classes, or with `label` of one class (`per_class`).

    together: a model of all classes without labels, that models of single classes start from. start: the
    checkpoint to start from. last: folder of the training's own checkpoint; in the store by default.
    """

    uncounted = frozenset({"last"})

    name: str
    seed: int
    label: int | None = None
    together: bool = False
    start: Ref | None = None
    last: Path | None = None
    of: str = ""  # the class's name, to be told

    @property
    def told(self) -> str:
        """`class x, `, `all classes, `, or nothing for a whole generator."""
        if self.together:
            return "all classes, "
        return f"class {self.of}, " if self.label is not None else ""


class TrainedGenerator(Record, frozen=True):
    """A generator at its best moment by val, how it got there, and grids with fixed latents.

    part: the class of a model of one class, or "all" of one that others start from; "" for a whole one.
    """

    uncounted = frozenset(
        {"history", "previews", "samples", "learned", "time"}
    )  # a history has seconds

    name: str
    seed: int
    part: str = ""
    checkpoint: Ref
    history: Ref  # kimg, seconds, metric, value
    previews: tuple[tuple[float, Ref], ...]
    samples: Ref
    learned: Ref  # the set it learned from, which a generator that derives images needs again
    best_kimg: float
    best_metric: float
    stopped: str
    time: Timed

    @property
    def told(self) -> str:
        """`class x, ` of a model of one class, else nothing."""
        return f"class {self.part}, " if self.part else ""


class Synthesised(Record, frozen=True):
    """Images of one generator and seed for one plan, and what curation let pass.

    checks: id, and each check's value, a row an image. funnel: generator, class, check, seen, passed. short: class → images
    that are missing from the plan, where any are.
    """

    images: Ref
    checks: Ref
    funnel: Ref
    short: Mapping[int, int]
    time: Timed


class Measured(Record, frozen=True):
    """table: of `fidelity.COLUMNS`. gallery: image set of synthetic, nearest train, nearest val image, in threes."""

    table: Ref
    gallery: Ref
    time: Timed


class Chosen(Record, frozen=True):
    """What val chose of an arm's mix for one seed; steps: of training that the search took.

    share: a number, or one for each class. table: rung, share (as text), part, steps, val_macro_recall, val_loss, stayed; a row an attempt.
    """

    share: Share
    part: float
    steps: int
    table: Ref
    time: Timed


class TrainedClassifier(Record, frozen=True):
    """A classifier at its best moment by val."""

    arm: str
    seed: int
    state: Ref
    history: Ref  # step, metric, value
    best_step: int
    time: Timed


class Scored(Record, frozen=True):
    """Scores on val and test, and the probabilities behind them."""

    arm: str
    seed: int
    table: Ref  # split, metric, class, value
    probabilities: Ref
