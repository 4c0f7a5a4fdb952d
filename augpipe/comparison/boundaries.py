"""Looks at a comparison while it grows: alpha spending of O'Brien-Fleming type (Lan & DeMets 1983).

Boundaries hold for the canonical joint distribution of the statistics Z_k at information fractions t_k: normal, with
correlation sqrt(t_j / t_k) of looks j < k (Jennison & Turnbull 2000, 3.1). They are on the scale of p: a look's nominal
level holds for a t statistic of any degrees of freedom (ibid. 3.8), which is an approximation if these are few and
differ.

Fractions are those of the planned replicates. All looks share the test images, so their statistics are correlated more
than that, and the total error is below alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """One look. number: from 1, of `planned`. fraction: of the information at the last planned look.

    boundary: |Z| from which the hypothesis is rejected. level: two-sided nominal level, 2 (1 - Φ(boundary)). spent:
    error of both sides that this look and those before may use up.
    """

    number: int
    planned: int
    fraction: float
    boundary: float
    level: float
    spent: float


def spending(fractions: Sequence[float], alpha: float = 0.05) -> Values:
    """Error of both sides that is spent up to each information fraction (0..1].

    Each side spends alpha/2 by 2 (1 - Φ(z / sqrt(t))), with z the 1 - alpha/4 quantile (Lan & DeMets 1983, α₁*).
    """
    z = stats.norm.isf(alpha / 4)
    spent: Values = 4 * stats.norm.sf(z / np.sqrt(np.asarray(fractions, np.float64)))
    return spent


def boundaries(fractions: Sequence[float], alpha: float = 0.05) -> Values:
    """|Z| that rejects at each look, (K,); ValueError unless fractions increase within (0, 1]."""
    return np.array(_boundaries(_checked(fractions), float(alpha)))


def look(counts: Sequence[int], now: int, alpha: float = 0.05) -> Look:
    """The look at `now` replicates. counts: replicates at every planned look; ValueError if `now` is none of them."""
    if now not in counts:
        raise ValueError(f"{now} replicates are none of the planned looks {list(counts)}")
    fractions = _checked([count / counts[-1] for count in counts])
    at = list(counts).index(now)
    boundary = float(boundaries(fractions[: at + 1], alpha)[-1])
    level, spent = 2 * float(stats.norm.sf(boundary)), float(spending(fractions, alpha)[at])
    return Look(at + 1, len(counts), fractions[at], boundary, level, spent)


def repeated_p(p: float, fractions: Sequence[float]) -> float:
    """p of the last of these looks, corrected for all of them (repeated p-value: Jennison & Turnbull 2000, 9.1).

    It is the alpha whose boundary the statistic just reaches, so that it is below alpha exactly if the look rejects at
    alpha. p: nominal, two-sided.
    """
    fractions = _checked(fractions)
    if fractions == (1.0,):
        return p
    z = float(stats.norm.isf(p / 2))

    def excess(log_alpha: float) -> float:
        return _boundaries(fractions, math.exp(log_alpha))[-1] - z

    low, high = math.log(1e-12), math.log(0.999)
    if excess(high) > 0:
        return 1.0
    if excess(low) < 0:
        return math.exp(low)
    return math.exp(float(optimize.brentq(excess, low, high, xtol=1e-6)))


def _checked(fractions: Sequence[float]) -> tuple[float, ...]:
    fractions = tuple(float(f) for f in fractions)
    if not fractions or fractions[0] <= 0 or fractions[-1] > 1 or (np.diff(fractions) <= 0).any():
        raise ValueError(f"fractions must increase within (0, 1]; got {list(fractions)}")
    return fractions


@lru_cache(maxsize=4096)
def _boundaries(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """Recursion of Armitage, McPherson & Rowe (1969) over the density of the sum S_k = Z_k sqrt(t_k)
    of runs not stopped.
    """
    spent = spending(fractions, alpha)
    step = np.diff(spent, prepend=0.0)
    result = [float(stats.norm.isf(step[0] / 2))]
    nodes, density = np.zeros(1), np.ones(1)  # the weighted density before the first look: all at 0
    for k in range(1, len(fractions)):
        before = fractions[k - 2] if k > 1 else 0.0
        nodes, density = _advance(nodes, density, fractions[k - 1] - before, result[-1] * math.sqrt(fractions[k - 1]))
        root, sd = math.sqrt(fractions[k]), math.sqrt(fractions[k] - fractions[k - 1])

        def crossed(z: float, at: Values = nodes, mass: Values = density, root: float = root, sd: float = sd) -> float:
            tails = special.ndtr((at - z * root) / sd) + special.ndtr((-at - z * root) / sd)
            return float(mass @ tails)

        target = float(step[k])
        result.append(float(optimize.brentq(lambda z: crossed(z) - target, 0.0, 40.0, xtol=1e-10)))  # noqa: B023
    return tuple(result)


def _advance(nodes: Values, mass: Values, step: float, bound: float) -> tuple[Values, Values]:
    """Density of the sum after a normal step of this variance, at Gauss-Legendre nodes within ± bound,
    times their weights.
    """
    sd = math.sqrt(step)
    bound = min(bound, float(np.abs(nodes).max()) + 9 * sd)
    # Six nodes a standard deviation integrate a normal density to 1e-9.
    count = int(np.clip(math.ceil(6 * 2 * bound / sd), 64, 1200))
    x, weight = np.polynomial.legendre.leggauss(count)
    x, weight = bound * x, bound * weight
    kernel = np.exp(-(((x[:, None] - nodes) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
    return x, weight * (kernel @ mass)
