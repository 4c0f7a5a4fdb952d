"""Paired difference of two arms in a metric, with nested replicates: G generators, R classifiers on each.

The mean difference varies for three reasons: the generator (between the G means), the classifier (within them), and the
test images or groups. The mean square between generators contains the first two in the proportion in which the mean
does, so that it needs no estimate of either (balanced nested analysis of variance: Searle, Casella & McCulloch 1992,
3.4); it has G - 1 degrees of freedom. With the variance over test units it is combined as in `bootstrap.interval`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import stats

from augpipe.comparison.bootstrap import degrees, hidden_variance
from augpipe.comparison.metrics import Outputs, Values, score
from augpipe.comparison.options import Metric
from augpipe.comparison.units import Units

MOST: Final = 100.0  # points between two scores of a metric


@dataclass(frozen=True)
class Variances:
    """Variance components of a paired difference, points².

    The variance of the mean is generator / G + classifier / (G R) + test. With R = 1 `generator` holds both of the
    first.
    """

    generator: float
    classifier: float
    test: float

    def of_mean(self, generators: int, classifiers: int) -> float:
        """Variance of the mean of so many replicates."""
        return (self.generator + self.classifier / classifiers) / generators + self.test


@dataclass(frozen=True)
class Difference:
    """A paired difference, in points of its metric.

    mean, error, df: estimate, standard error, degrees of freedom. values: (G,R) of each training. influence: (U,) of
    the test units on the mean. scale: by what each generator's deviation from the mean counts, so that its variance is
    that of the replicates in `error`. hidden: part of the variance that no influence shows. of_test: degrees of freedom
    of the test units; least: effective test units in the smallest class that counts. alike: where single classes count
    and both arms predicted the same for all their images, the recall and the effective test units of each.
    """

    name: str
    mean: float
    error: float
    df: float
    variances: Variances
    values: Values
    influence: Values
    scale: float
    hidden: float
    of_test: float
    least: float
    alike: tuple[tuple[float, float], ...] = ()

    @property
    def p(self) -> float:
        """Two-sided p of no difference."""
        if self.error == 0:  # equal predictions
            return 1.0
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.df))

    def interval(self, level: float) -> tuple[float, float]:
        """The differences that a two-sided test at this nominal level does not reject, of those that are possible.

        Equal predictions show no variance, but other images of these classes might have differed: the interval is then
        Newcombe's (1998) of each class, combined over them by the root of the sum of squares.
        """
        if self.alike:
            half = 100 * math.hypot(*(newcombe(*of, level) for of in self.alike)) / len(self.alike)
            return -half, half
        half = float(stats.t.isf(level / 2, self.df)) * self.error
        return max(self.mean - half, -MOST), min(self.mean + half, MOST)


def difference(
    contender: Outputs,
    rival: Outputs,
    units: Units,
    metric: Metric = "macro_recall",
    classes: Sequence[int] = (),
    name: str = "",
) -> Difference:
    """Contender minus rival. ValueError if the arms are not paired (see `metrics.score` for shapes and `classes`)."""
    if contender.shape != rival.shape:
        raise ValueError(f"paired arms have one shape; got {contender.shape} and {rival.shape} of {name or 'an arm'}")
    ours, theirs = (score(a, units.labels, metric, classes) for a in (contender, rival))
    values = 100 * (ours.values - theirs.values)
    influence = units.gather(100 * (ours.contributions - theirs.contributions))
    weights = (ours.weights + theirs.weights) / 2
    changed = _right(contender, units) - _right(rival, units)
    hidden = 100**2 * hidden_variance(changed, units, weights)
    if metric == "worst_class_recall" and not np.array_equal(contender, rival):
        hidden = 100**2 * sum(
            _hidden_of_one(_right(arm, units), units, scored.weights)
            for arm, scored in ((contender, ours), (rival, theirs))
        )
    of_test = units.degrees_of(weights)
    counted = classes if len(classes) else list(units.of_class)
    least = min(units.of_class[int(c)] for c in counted)
    estimate = estimate_of(name, values, influence, hidden, units, of_test, least)
    if metric in ("macro_recall", "minority_recall") and len(classes) and not estimate.error:
        estimate = replace(estimate, alike=_alike(contender, units, classes))
    return estimate


def _alike(outputs: Outputs, units: Units, classes: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Recall and effective test units of each of these classes."""
    right = _right(outputs, units)
    return tuple((float(right[units.labels == c].mean()), units.of_class[int(c)]) for c in classes)


def newcombe(recall: float, n: float, level: float) -> float:
    """Half width of the interval of a difference of two paired proportions that agree on all of n units.

    Square-and-add of Wilson's limits, with the continuity-corrected correlation of the pair (Newcombe 1998, Statistics
    in Medicine 17:2635, method 10). With 0 or n right it is z² / (n + z²), 3.8 / (n + 3.8) at 95%.
    """
    z = float(stats.norm.isf(level / 2))
    centre, reach = (recall + z**2 / (2 * n), z * math.sqrt(recall * (1 - recall) / n + (z / n) ** 2 / 4))
    below = recall - (centre - reach) / (1 + z**2 / n)
    above = (centre + reach) / (1 + z**2 / n) - recall
    product = n**2 * recall * (1 - recall)
    correlation = max(0.0, 1 - n / 2 / product) if product > 0 else 0.0
    return math.sqrt(below**2 - 2 * correlation * below * above + above**2)


def level(outputs: Outputs, units: Units, metric: Metric = "macro_recall", classes: Sequence[int] = ()) -> Difference:
    """One arm's metric in points, with the error model of a difference."""
    scored = score(outputs, units.labels, metric, classes)
    influence = units.gather(100 * scored.contributions)
    hidden = 100**2 * _hidden_of_one(_right(outputs, units), units, scored.weights)
    of_test = units.degrees_of(scored.weights)
    return estimate_of("", 100 * scored.values, influence, hidden, units, of_test, units.least)


def estimate_of(
    name: str, values: Values, influence: Values, hidden: float, units: Units, of_test: float, least: float
) -> Difference:
    """The error model. values: (G,R) in points. influence: (G,U) of each generator's mean. hidden: variance that it
    does not show. of_test, least: see `Difference`."""
    g, r = values.shape
    per_generator, of_mean = values.mean(1), influence.mean(0)
    test = float(units.variance_of(of_mean[None])[0]) + hidden
    spread = overlap = within = 0.0
    if g > 1:
        spread = float(per_generator.var(ddof=1))
        # Generators differ on single test images: this part is in `test` already.
        overlap = float(units.variance_of(influence - of_mean).mean()) * g / (g - 1)
    if r > 1:
        within = float(values.var(axis=1, ddof=1).mean())
    replicates = max(0.0, spread - overlap) / g
    error = math.sqrt(replicates + test)
    df = float(degrees(replicates + test, spread / g, test, g, of_test))
    mean = float(values.mean())
    if error < 1e-12:
        # No variance is seen: of different arms nothing is known of it.
        mean, error, df = (0.0, 0.0, df) if abs(mean) < 1e-9 else (mean, abs(mean), 1.0)
    variances = Variances(max(0.0, spread - within / r), within, max(0.0, error**2 - spread / g))
    scale = math.sqrt(replicates * g / spread) if spread > 1e-18 else 0.0
    return Difference(name, mean, error, df, variances, values, of_mean, scale, hidden, of_test, least)


def _right(outputs: Outputs, units: Units) -> Values:
    """Share of the trainings that classify each image correctly, (N,)."""
    predicted = outputs.argmax(3) if outputs.ndim == 4 else outputs
    right: Values = (predicted == units.labels).mean((0, 1))
    return right


def _hidden_of_one(right: Values, units: Units, weights: Values) -> float:
    """As `hidden_variance`, of one arm: classes all right or all wrong, with one image of each outcome added."""
    variance = 0.0
    for c, n in units.of_class.items():
        inside = units.labels == c
        if np.ptp(right[inside]) < 1e-12 and right[inside][0] in (0, 1):
            variance += (n + 1) / (n + 2) ** 3 * float(weights[inside].sum()) ** 2
    return variance


def scores(outputs: Outputs, units: Units, metric: Metric = "macro_recall", classes: Sequence[int] = ()) -> Values:
    """The metric of each training in percent, (G,R): the points of a figure."""
    return 100 * score(outputs, units.labels, metric, classes).values
