"""The runs of a comparison: what was trained and scored for each generator and arm of each seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from augpipe.core.refs import Ref
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import (
    Choice,
    Measured,
    Prepared,
    Recipe,
    Scored,
    Synthetic,
    TrainedClassifier,
    TrainedGenerator,
)

BySeed = Mapping[int, Prepared]  # one and the same for every seed, unless each has its own split


@dataclass
class ReferenceRun:
    """The reference classifier of one seed."""

    seed: int
    reference: Ref


@dataclass
class GeneratorRun:
    """One generator and seed; classes, pooled: per-class models and the model they start from, if any."""

    name: str
    seed: int
    prepared: Prepared
    trained: TrainedGenerator
    pooled: TrainedGenerator | None = None
    classes: Sequence[TrainedGenerator] = ()
    measured: Measured | None = None


@dataclass
class ArmRun:
    """One arm and seed; synthetic is set if the arm has a generator, chosen if its mix is searched.

    seed: of the classifier; the generator has another one where several classifiers are trained on its images.
    """

    arm: Arm
    seed: int
    prepared: Prepared
    by_generator: Sequence[Synthetic] = ()  # of each generator, where several are pooled
    synthetic: Synthetic | None = None
    chosen: Choice | None = None
    recipe: Recipe | None = None
    base_recipe: Recipe | None = None  # of the classifier whose head is replaced, unless it is another arm's
    base: TrainedClassifier | None = None  # the classifier whose head is replaced
    classifier: TrainedClassifier | None = None
    scored: Scored | None = None


Run = ReferenceRun | GeneratorRun | ArmRun


@dataclass
class Runs:
    """All runs of a comparison; with a runner that returns futures, fields hold futures until `resolve`."""

    prepared: BySeed
    references: dict[int, ReferenceRun] = field(default_factory=dict)
    generators: dict[tuple[str, int], GeneratorRun] = field(default_factory=dict)
    arms: dict[tuple[str, int], ArmRun] = field(default_factory=dict)

    def results(self) -> Iterator[tuple[Run, str, Any]]:
        """(run, field, result or future) of every call, in the order in which they were made."""
        runs: list[Run] = [*self.references.values(), *self.generators.values()]
        for run in [*runs, *self.arms.values()]:
            for name in RESULTS[type(run)]:
                value = getattr(run, name)
                for item in value if isinstance(value, list | tuple) else [value]:
                    if item is not None:
                        yield run, name, item

    def keep(self, experiment: Experiment) -> Runs:
        """Only the runs of the arms and generators in `experiment`."""
        arms = {arm.name for arm in experiment.arms}
        return Runs(
            self.prepared,
            {} if not experiment.generators else self.references,  # they may have failed
            {key: run for key, run in self.generators.items() if key[0] in experiment.generators},
            {key: run for key, run in self.arms.items() if key[0] in arms},
        )

    def without(self, known: Runs) -> Runs:
        """Only the runs that are not among `known`."""
        return Runs(
            self.prepared,
            {key: run for key, run in self.references.items() if key not in known.references},
            {key: run for key, run in self.generators.items() if key not in known.generators},
            {key: run for key, run in self.arms.items() if key not in known.arms},
        )


# The fields that hold results of stages.
RESULTS: Mapping[type, tuple[str, ...]] = {
    ReferenceRun: ("reference",),
    GeneratorRun: ("pooled", "classes", "trained", "measured"),
    ArmRun: ("by_generator", "synthetic", "chosen", "recipe", "base_recipe", "base", "classifier", "scored"),
}


def resolve(run: Run, result: Any) -> None:
    """Replace each future of a run by `result(future)`."""
    for name in RESULTS[type(run)]:
        value = getattr(run, name)
        if isinstance(value, list | tuple):
            setattr(run, name, [result(item) for item in value])
        elif value is not None:
            setattr(run, name, result(value))


def training_seconds(runs: Runs, seeds: Collection[int]) -> float:
    """Seconds in which generators, images or classifiers of these seeds were made, as measured when they were: at once
    counts once, and reused results count as well."""
    generators = [run for (_, seed), run in runs.generators.items() if seed in seeds]
    arms = [run for (_, seed), run in runs.arms.items() if seed in seeds]
    results = [
        *(one for run in generators for one in (run.trained, run.pooled, *run.classes)),
        *(one for run in arms for one in (run.synthetic, run.chosen, run.base, run.classifier, *run.by_generator)),
    ]
    times = [one.time for one in results if one is not None]
    total, end = 0.0, 0.0
    for time in sorted(times, key=lambda time: time.began):
        total += max(0.0, time.began + time.seconds - max(time.began, end))
        end = max(end, time.began + time.seconds)
    return total
