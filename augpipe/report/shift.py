"""Scores on the second test set (`source.shift`): of every arm, and of the two finalists with a paired interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from augpipe.comparison.decision import ALPHA
from augpipe.comparison.explore import Comparison
from augpipe.comparison.finalists import Finalists
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.paired import difference, scores
from augpipe.comparison.units import Units
from augpipe.core.options import SHIFT
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.outputs import counted_classes, labels_of, output, outputs
from augpipe.pipeline.runs import Runs


@dataclass(frozen=True)
class ShiftDifference:
    """Finalist with synthetic images minus finalist without, in the run's metric on the second test set.

    Means in percent, differences in points. p and the 95% interval are of this difference alone: neither corrected for
    others nor for looks. replicates: trainings of a generator that it rests on.
    """

    without: float
    with_generator: float
    difference: float
    low: float
    high: float
    p: float
    replicates: int


@dataclass(frozen=True)
class Shift:
    """counts: images of each class. comparison: of all arms by the first look's seeds. difference: of the finalists in
    the stage that the answer is of; None without an arm with a trained generator."""

    counts: Mapping[int, int]
    units: Units
    comparison: Comparison
    difference: ShiftDifference | None

    def summary(self, classes: Sequence[str]) -> dict[str, Any]:
        """For `summary.json`."""
        one = self.difference
        return {
            "counts": {classes[label]: n for label, n in self.counts.items()},
            "arms": {
                arm: {"mean": level.mean, "low": level.low, "high": level.high}
                for arm, level in self.comparison.levels.items()
            },
            "difference": None
            if one is None
            else {
                "without_generator": one.without,
                "with_generator": one.with_generator,
                "difference": one.difference,
                "low": one.low,
                "high": one.high,
                "p": one.p,
                "replicates": one.replicates,
            },
        }


def shift_of(
    experiment: Experiment, runs: Runs, compare: Callable[[Mapping[str, Sequence[Outputs]], Units], Comparison]
) -> Shift | None:
    """The first look's scores on the second test set; None without one.

    compare: compares all arms, by arm the outputs of each seed, and the units of the images.
    """
    prepared, seeds = runs.prepared[experiment.seeds[0]], experiment.seeds
    if prepared.shift is None:
        return None
    labels, groups = labels_of(prepared.shift)
    units = Units(labels, groups)
    of = {arm.name: [_output(runs, arm.name, seed, experiment) for seed in seeds] for arm in experiment.arms}
    comparison = compare(of, units)
    counts = dict(enumerate(np.bincount(labels, minlength=len(prepared.classes)).tolist()))
    pair = Finalists(comparison.best, comparison.strongest)
    classifiers = {seed: [seed] for seed in seeds}
    return Shift(counts, units, comparison, _difference(units, runs, pair, experiment, classifiers))


def _output(runs: Runs, arm: str, seed: int, experiment: Experiment) -> Outputs:
    scored = runs.arms[arm, seed].scored
    if scored is None:
        raise RuntimeError(f"arm {arm!r} ended without scores")
    return output(scored.probabilities, experiment.metric, SHIFT)


def shift_confirmed(shift: Shift, confirmed: Confirmed) -> Shift:
    """With the difference of the confirm stage's trainings."""
    runs, pair = confirmed.runs, confirmed.finalists
    return replace(shift, difference=_difference(shift.units, runs, pair, confirmed.experiment, confirmed.classifiers))


def _difference(
    units: Units, runs: Runs, pair: Finalists, experiment: Experiment, classifiers: Mapping[int, Sequence[int]]
) -> ShiftDifference | None:
    """classifiers: generator's seed → seeds of its classifiers."""
    if pair.missing:
        return None
    metric = experiment.metric
    of = [outputs(runs, str(arm), classifiers, metric, SHIFT) for arm in (pair.contender, pair.rival)]
    classes = counted_classes(metric, next(iter(runs.prepared.values())))
    one = difference(of[0], of[1], units, metric, classes, SHIFT)
    low, high = one.interval(ALPHA)
    with_generator, without = (float(scores(arm, units, metric, classes).mean()) for arm in of)
    return ShiftDifference(without, with_generator, one.mean, low, high, one.p, len(classifiers))
