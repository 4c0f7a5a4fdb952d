"""How many generators, and how many classifiers on each, the confirm stage trains.

The variance of the mean is (generator + classifier / R) / G + test, and a generator with its classifiers takes
generator_seconds + arms R classifier_seconds. Their product is least at R = sqrt(classifier / generator x
generator_seconds / (arms classifier_seconds)) (two-stage sampling: Cochran 1977, 10.6), whatever G is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.bootstrap import LEAST_SEEDS
from augpipe.comparison.paired import Variances

MOST_CLASSIFIERS: Final = 8
MOST_GENERATORS: Final = 20


@dataclass(frozen=True)
class Cost:
    """Measured seconds of one generator and one classifier training. arms: that are trained on each replicate."""

    generator: float
    classifier: float
    arms: int = 2

    def of(self, generators: int, classifiers: int) -> float:
        """Seconds of G generators with R classifiers of each arm."""
        return generators * (self.generator + self.arms * classifiers * self.classifier)


@dataclass(frozen=True)
class Allocation:
    """generators: G. classifiers: R on each. error: expected standard error, points. seconds: expected.
    reason: a sentence.
    """

    generators: int
    classifiers: int
    error: float
    seconds: float
    reason: str


def explore_variances(
    scores: Mapping[str, NDArray[np.float64]],
    generative: Mapping[str, bool],
    contender: str,
    rival: str,
    test: float = 0.0,
) -> Variances:
    """Variance components of contender minus rival from the explore stage, which has one classifier on each generator.

    scores: arm → metric of each seed in points, (S,); on val, since test is scored once. The spread of the paired
    difference holds generator and classifier; that of arms without a trained generator against each other holds the
    classifier alone (mean over pairs; without a second such arm, half of the spread is taken for each). test: variance
    of the mean due to test images, points²; that of as many val images will do.
    """
    spread = float((scores[contender] - scores[rival]).var(ddof=1))
    plain = sorted(arm for arm in scores if not generative[arm])
    pairs = [float((scores[a] - scores[b]).var(ddof=1)) for a, b in combinations(plain, 2)]
    classifier = min(spread, float(np.mean(pairs))) if pairs else spread / 2
    return Variances(spread - classifier, classifier, test)


def allocate(
    variances: Variances,
    cost: Cost,
    budget: float | None = None,
    generators: Sequence[int] = (LEAST_SEEDS, MOST_GENERATORS),
    classifiers: Sequence[int] = (1, MOST_CLASSIFIERS),
) -> Allocation:
    """G and R with the least variance per second.

    budget: seconds, which fix G: among all R, the half width of the 95% interval is least, so that G - 1 degrees of
    freedom count as well. Without it, R is the best and G the larger of the floor and 5. generators, classifiers: least
    and most.
    """
    floor, most = generators
    each = range(classifiers[0], classifiers[1] + 1)
    if budget is None:
        r = min(each, key=lambda r: _product(variances, cost, r))
        g = min(max(floor, 5), most)
    else:
        plans = [(_affordable(cost, r, budget, floor, most), r) for r in each]
        g, r = min(plans, key=lambda plan: _rank(variances, cost, plan, budget))
    error, seconds = math.sqrt(variances.of_mean(g, r)), cost.of(g, r)
    return Allocation(g, r, error, seconds, _reason(variances, cost, g, r, budget))


def _product(variances: Variances, cost: Cost, r: int) -> float:
    """Variance times seconds of one generator with R classifiers."""
    return (variances.generator + variances.classifier / r + 1e-12) * cost.of(1, r)


def _affordable(cost: Cost, r: int, budget: float, floor: int, most: int) -> int:
    return max(floor, min(most, int(budget / max(cost.of(1, r), 1e-9))))


def _rank(variances: Variances, cost: Cost, plan: tuple[int, int], budget: float) -> tuple[bool, float, float]:
    """Sort key of plans: those within the budget first, by the squared half width of the interval, then by seconds.

    Plans beyond the budget are ordered by their seconds.
    """
    g, r = plan
    seconds = cost.of(g, r)
    replicates = variances.of_mean(g, r) - variances.test
    # The t quantile of G - 1 degrees of freedom weighs the replicates' part alone.
    half_width = float(stats.t.isf(0.025, g - 1) ** 2) * replicates + 1.96**2 * variances.test
    return seconds > budget, half_width if seconds <= budget else seconds, seconds


def _reason(variances: Variances, cost: Cost, g: int, r: int, budget: float | None) -> str:
    parts = [
        f"{g} generators with {r} classifier{'s' if r > 1 else ''} of each arm: between generators the difference "
        f"varies by {math.sqrt(variances.generator):.2g} points, between classifiers of one generator by "
        f"{math.sqrt(variances.classifier):.2g}; a generator takes {cost.generator:.2g} s, a classifier "
        f"{cost.classifier:.2g} s"
    ]
    if budget is not None and cost.of(g, r) > budget:
        parts.append(f"the budget of {budget:.0f} s is less than the least that a verdict needs")
    return "; ".join(parts) + "."
