"""Simultaneous intervals of many differences: all of them cover together in 95% of runs (max-t over the family).

The distribution of the largest |t| is that of a Gaussian multiplier bootstrap over replicates and test units
(Chernozhukov, Chetverikov & Kato 2013): given the data, such draws are normal with the estimates' covariance, so that
they are drawn from it. Each statistic is referred to its t distribution first (minimum of p: Westfall & Young 1993,
2.3), since degrees of freedom differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from augpipe.comparison.decision import ALPHA
from augpipe.comparison.metrics import Values
from augpipe.comparison.paired import Difference
from augpipe.comparison.units import Units

DRAWS: Final = 20_000


@dataclass(frozen=True)
class Simultaneous:
    """A difference in points, with its simultaneous interval; p: adjusted for the family.
    level: of each interval alone.
    """

    name: str
    difference: float
    low: float
    high: float
    p: float
    level: float


def simultaneous(family: Sequence[Difference], units: Units, draws: int = DRAWS) -> list[Simultaneous]:
    """Intervals and p of a family of differences with different names, whose trainings and test units are shared.

    All have the same number of replicates G. A family of one gives its pairwise interval. The draws are seeded by the
    names; their order does not matter.
    """
    names = [member.name for member in family]
    if len(set(names)) < len(names):
        raise ValueError(f"members of a family need different names; got {names}")
    replicates = {len(member.values) for member in family}
    if len(replicates) > 1:
        raise ValueError(f"members of a family share their replicates; got {sorted(replicates)}")
    if not family:
        return []
    if len(family) == 1:
        level, smallest = ALPHA, None
    else:
        smallest = _smallest_p(sorted(family, key=lambda member: member.name), units, draws)
        level = float(np.quantile(smallest, ALPHA))
    return [_member(member, level, smallest) for member in family]


def _member(member: Difference, level: float, smallest: Values | None) -> Simultaneous:
    low, high = member.interval(level)
    p = member.p if smallest is None else max(member.p, float((smallest <= member.p).mean()))
    return Simultaneous(member.name, member.mean, low, high, p, level)


def _smallest_p(family: Sequence[Difference], units: Units, draws: int) -> Values:
    """Smallest p of the family in each draw without any difference, (B,)."""
    text = "\x1f".join(member.name for member in family)
    rng = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
    values, vectors = np.linalg.eigh(correlation(family, units))
    root = vectors * np.sqrt(np.clip(values, 0, None))
    largest = np.abs(rng.standard_normal((draws, len(family))) @ root.T).max(1)
    smallest: Values = 2 * stats.norm.sf(largest)
    return smallest


def correlation(family: Sequence[Difference], units: Units) -> Values:
    """Correlation of the estimates (J,J): of replicates and of test units; what no influence shows is independent."""
    g = len(family[0].values)
    deviations = np.stack([m.scale * (m.values.mean(1) - m.mean) for m in family])
    covariance = units.covariance_of(np.stack([m.influence for m in family]))
    covariance += deviations @ deviations.T / (g * max(g - 1, 1))
    covariance += np.diag([m.hidden for m in family])
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    result: Values = covariance / np.outer(spread, spread)
    np.fill_diagonal(result, 1.0)
    return result
