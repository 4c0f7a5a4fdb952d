"""The confirm stage: one hypothesis, contender minus rival, on fresh replicates; decided by one statistic.

The statistic is t = difference / standard error with Satterthwaite's degrees of freedom (see `paired`). The interval
holds the differences that its test does not reject, p is that of no difference, and the decision is read from the
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.bootstrap import LEAST_IMAGES, LEAST_SEEDS, LEVEL, POWER, degrees
from augpipe.comparison.boundaries import Look, look, repeated_p
from augpipe.comparison.metrics import Labels, Outputs
from augpipe.comparison.options import Metric
from augpipe.comparison.paired import Difference, Variances, difference
from augpipe.comparison.units import Units

ALPHA: Final = 1 - LEVEL
MARGIN: Final = 0.5  # points
MOST_REPLICATES: Final = 1000
Decision = Literal["better", "worse", "equivalent", "undecided"]
Reason = Literal["", "too few replicates", "too few test images"]


@dataclass(frozen=True)
class Confirmation:
    """The answer of the confirm stage; all figures in points of the metric.

    low, high: 95% interval, which excludes 0 exactly if p < .05. With looks, both are corrected for them (repeated
    interval and p). inner: the 90% interval, likewise. within_margin: whether it lies within ± margin, also if the
    decision is better or worse. error, df: of the mean. reason: why nothing could be decided, if it lies in the
    design. replicates_needed: generators in total, with as many classifiers each, that decide with 80% power if the
    difference is as observed; None if decided, or if more than 1000. values: (G,R) differences of the trainings.
    """

    metric: Metric
    difference: float
    low: float
    high: float
    p: float
    error: float
    df: float
    variances: Variances
    decision: Decision
    reason: Reason
    margin: float
    inner: tuple[float, float]
    within_margin: bool
    replicates_needed: int | None
    look: Look
    values: tuple[tuple[float, ...], ...]

    @property
    def generators(self) -> int:
        """G, generator trainings."""
        return len(self.values)

    @property
    def classifiers(self) -> int:
        """R, classifier trainings on each generator."""
        return len(self.values[0])


def confirm_pair(
    contender: Outputs,
    rival: Outputs,
    truth: Labels,
    groups: Sequence[object] | NDArray[np.object_] | None = None,
    *,
    metric: Metric = "macro_recall",
    margin: float = MARGIN,
    looks: Sequence[int] | None = None,
    classes: Sequence[int] = (),
) -> Confirmation:
    """Decide whether the contender is better, worse or equivalent to the rival.

    contender, rival: predicted classes (G,R,N) of G generator trainings and R classifier trainings on each, or for
    `macro_auc` probabilities (G,R,N,K). Arms are paired: [g, r] of both have the same initialisation and batch order,
    and no two [g, r] share theirs. truth: (N,). groups: (N,) or None. margin: points within which arms count as
    equivalent. looks: numbers of generators at which the comparison looks, planned before the first, of which G is one;
    None: this look alone. classes: those of `minority_recall`, or of single recalls. ValueError names what does not
    fit.
    """
    if margin <= 0:
        raise ValueError(f"margin must be above 0 points; got {margin}")
    units = Units(np.asarray(truth, np.int64), groups)
    estimate = difference(contender, rival, units, metric, classes)
    return decide(estimate, metric, margin, looks)


def decide(
    estimate: Difference, metric: Metric, margin: float = MARGIN, looks: Sequence[int] | None = None
) -> Confirmation:
    """The decision from an estimated difference; arguments as in `confirm_pair`."""
    g = len(estimate.values)
    counts = list(looks) if looks else [g]
    now = look(counts, g, ALPHA)
    low, high = estimate.interval(now.level)
    fractions = [count / counts[-1] for count in counts[: now.number]]
    # Two one-sided tests at alpha (Schuirmann 1987): the interval at 1 - 2 alpha lies within the margin.
    inner = estimate.interval(look(counts, g, 2 * ALPHA).level)
    within = -margin < inner[0] and inner[1] < margin
    reason: Reason = ""
    decision: Decision = "undecided"
    if estimate.least < LEAST_IMAGES:
        reason = "too few test images"
    elif g < LEAST_SEEDS:
        reason = "too few replicates"
    elif low > 0 or high < 0:
        decision = "better" if low > 0 else "worse"
    elif within:
        decision = "equivalent"
    return Confirmation(
        metric=metric,
        difference=estimate.mean,
        low=low,
        high=high,
        p=repeated_p(estimate.p, fractions),
        error=estimate.error,
        df=estimate.df,
        variances=estimate.variances,
        decision=decision,
        reason=reason,
        margin=margin,
        inner=inner,
        within_margin=within and not reason,
        replicates_needed=_needed(estimate, margin, reason) if decision == "undecided" else None,
        look=now,
        values=tuple(tuple(row) for row in estimate.values.tolist()),
    )


def _needed(estimate: Difference, margin: float, reason: Reason) -> int | None:
    if reason == "too few test images":
        return None
    if len(estimate.values) < 2:
        return LEAST_SEEDS  # with one replicate, only this bound is known
    return replicates_needed(estimate, margin)


def replicates_needed(estimate: Difference, margin: float = MARGIN) -> int | None:
    """Generators in total that decide with probability POWER if the difference and its variances are as observed."""
    least = max(LEAST_SEEDS, len(estimate.values) + 1)
    if _power(estimate, margin, np.array([MOST_REPLICATES]))[0] < POWER:
        return None
    for start in range(least, MOST_REPLICATES + 1, 50):
        n = np.arange(start, min(start + 50, MOST_REPLICATES + 1))
        enough = n[_power(estimate, margin, n) >= POWER]
        if len(enough):
            return int(enough[0])
    return None


def _power(estimate: Difference, margin: float, n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of a decision with n generators: of the two-sided test or the two one-sided ones, whichever is
    larger.

    By a shifted t (Chow, Shao & Wang 2008, 3.1 and 3.2).
    """
    test, r = estimate.variances.test, estimate.values.shape[1]
    replicates = (estimate.variances.of_mean(1, r) - test) / n
    total = np.maximum(replicates + test, 1e-12)
    df, error = degrees(total, replicates, test, n, estimate.of_test), np.sqrt(total)
    shift = abs(estimate.mean) / error
    two_sided, one_sided = stats.t.isf(ALPHA / 2, df), stats.t.isf(ALPHA, df)
    differs = stats.t.sf(two_sided - shift, df) + stats.t.sf(two_sided + shift, df)
    equivalent = (
        stats.t.cdf(margin / error - shift - one_sided, df) + stats.t.cdf(margin / error + shift - one_sided, df) - 1
    )
    power: NDArray[np.float64] = np.maximum(differs, equivalent)
    return power
