"""Paired gains in macro recall with bootstrap intervals and corrected p-values.

The unit of pairing is (seed, test image), with images of a group resampled together: arms of a seed share split, initial
weights and batch order. The interval covers both the variance between seeds (generator and classifier) and that of the
sampled test images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from augpipe.comparison.units import Units, image_weights
from augpipe.core.counts import LEAST_TEST

LEVEL: Final = 0.95
DRAWS: Final = 2000
LEAST_SEEDS: Final = 3
POWER: Final = 0.8  # probability with which `seeds_needed` seeds show a gain
LEAST_IMAGES: Final = LEAST_TEST
Right = NDArray[np.bool_]  # (seeds, test images): whether an image was classified correctly
Verdict = Literal[
    "better",
    "worse",
    "no difference shown",
    "too few seeds to say",
    "too few test images to say",
]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval at LEVEL, its standard error and degrees of freedom."""

    mean: float
    low: float
    high: float
    error: float
    df: float


@dataclass(frozen=True)
class Gain:
    """An arm against a reference, in macro recall (0..1)."""

    arm: str
    reference: str
    interval: Interval
    p: float
    p_holm: float
    effect_size: float  # mean gain over its standard deviation between seeds; nan for one seed
    verdict: Verdict
    seeds_needed: int | None  # to show a gain of this size; None if more seeds alone cannot
    p_permutation: float = math.nan  # permutation of the seeds' signs, see `sign_flip`; uncorrected
    p_permutation_holm: float = math.nan


def macro_recall(right: Right, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro recall of each seed, (S,)."""
    recalls: NDArray[np.float64] = right.astype(np.float64) @ image_weights(labels)
    return recalls


def interval(values: NDArray[np.float64], units: Units, rng: np.random.Generator) -> Interval:
    """Interval of the class-balanced mean of `values` (S, N) by hierarchical bootstrap.

    Test images are resampled with replacement within their class, or as whole groups if they have groups (see `Units`), the
    same for all seeds; seeds are resampled with replacement. The deviations of both are scaled by sqrt(n/(n-1)), since a
    sample of n values spreads less than its distribution. The part of the variance between seeds that comes from the test
    images is subtracted from it, because it would count twice. The percentiles are then widened by t/z with Satterthwaite's
    degrees of freedom, without which an interval of 3 seeds covers far less than its level (Hesterberg 2015, sections 3 and
    4.1.2).
    """
    s = len(values)
    estimates = units.mean(values)
    mean = float(estimates.mean())
    drawn = units.draws(values.mean(0), DRAWS, rng)
    images, seeds, spread = float(drawn.var(ddof=1)), 0.0, 0.0
    if s > 1:
        spread = float(estimates.var(ddof=1))
        seeds = max(0.0, spread - variance_from_images(values, units)) / s
        deviations = (estimates - mean) * math.sqrt(s * seeds / max(spread, 1e-300) * s / (s - 1))
        drawn = drawn + deviations[rng.integers(0, s, size=(DRAWS, s))].mean(1)
    df = float(_degrees(seeds + images, spread / s, images, s, units))
    tail = (1 - LEVEL) / 2
    wider = float(stats.t.ppf(1 - tail, df) / stats.norm.ppf(1 - tail))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    error = math.sqrt(seeds + images)
    return Interval(mean, mean + (low - mean) * wider, mean + (high - mean) * wider, error, df)


def variance_from_images(values: NDArray[np.float64], units: Units) -> float:
    """Part of the variance between seeds' estimates that is due to seeds differing on single test images."""
    s = len(values)
    return float(units.variance(values - values.mean(0)).mean()) * s / (s - 1)


def _degrees(
    total: ArrayLike, seeds: ArrayLike, images: ArrayLike, s: ArrayLike, units: Units
) -> NDArray[np.float64]:
    """Satterthwaite's degrees of freedom of the variance `total`, from its two components; elementwise.

    seeds: the observed variance between seeds, with S-1 degrees of freedom: subtracting the images' part, as in `total`,
    does not make it more precise. images: with the degrees of freedom of the test units.
    """
    total, seeds, images, s = (np.asarray(v, np.float64) for v in (total, seeds, images, s))
    parts = images**2 / units.degrees + np.where(s > 1, seeds**2 / np.maximum(s - 1, 1), 0.0)
    df: NDArray[np.float64] = np.clip(total**2 / np.where(parts > 0, parts, 1.0), 1.0, 1e6)
    return np.where(parts > 0, df, 1e6)


def gain(
    arm: str,
    reference: str,
    right: Mapping[str, Right],
    units: Units,
    rng: np.random.Generator,
) -> Gain:
    """Gain of an arm over a reference, paired; p is uncorrected (see `holm`)."""
    values = right[arm].astype(np.float64) - right[reference].astype(np.float64)
    estimate = interval(values, units, rng)
    per_seed = units.mean(values)
    s = len(per_seed)
    deviation = float(per_seed.std(ddof=1)) if s > 1 else float("nan")
    p = 1.0
    if estimate.error > 1e-12:
        p = float(2 * stats.t.sf(abs(estimate.mean) / estimate.error, estimate.df))
    # Arms with equal gains deviate by 0 up to rounding: their effect size is undefined.
    effect = estimate.mean / deviation if s > 1 and deviation > 1e-12 else float("nan")
    flipped = sign_flip(per_seed)
    return Gain(arm, reference, estimate, p, p, effect, "no difference shown", None, flipped)


def sign_flip(per_seed: NDArray[np.float64]) -> float:
    """Two-sided p of the paired permutation test over the signs of the seeds' gains (Fisher 1935).

    Exact over all 2^S signs up to 12 seeds, over 4096 random ones for more. It makes no assumption on the distribution of
    gains, and cannot be below 2^(1-S): .0625 for five seeds. nan for one seed.
    """
    if len(per_seed) < 2:
        return math.nan
    # Round, so that gains of equal size are ties: rounding errors would distinguish their signs.
    test = stats.permutation_test(
        (per_seed.round(12),), np.mean, permutation_type="samples", n_resamples=2**12,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(test.pvalue)


def seeds_needed(
    estimate: Interval, variance: tuple[float, float], seeds: int, units: Units, arms: int
) -> int | None:
    """Number of seeds, above the present one, that shows a gain of this size with probability POWER; None if over 1000.

    variance: of one seed, and of the test images, which more seeds do not reduce. arms: number of p-values that are
    corrected together.
    """
    n = np.arange(max(LEAST_SEEDS, seeds + 1), 1001)
    between, images = variance[0] / n, np.float64(variance[1])
    df = _degrees(between + images, between, images, n, units)
    t = stats.t.ppf(1 - (1 - LEVEL) / 2 / arms, df) + stats.t.ppf(POWER, df)
    shown = n[abs(estimate.mean) > t * np.sqrt(between + images)]
    return int(shown[0]) if len(shown) else None


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple comparisons, step-down (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[int(at)]))
        adjusted[int(at)] = floor
    return adjusted
