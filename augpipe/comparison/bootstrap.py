"""Paired gains with intervals, corrected p-values, and the verdict.

The unit of pairing is (seed, test image), images of a group drawn together: arms of a seed share split, initial weights
and batch order.
The gain is in macro recall. Its interval holds both the luck of a seed (generator and classifier) and
that of the drawn test images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.units import Units, image_weights

LEVEL: Final = 0.95
DRAWS: Final = 2000
LEAST_SEEDS: Final = 3
POWER: Final = 0.8  # with which the seeds that would be needed would show a gain
# Test images of every class, of as many groups: fewer cannot tell how much they vary.
LEAST_IMAGES: Final = 5
Right = NDArray[np.bool_]  # (seeds, test images): whether an image was classified rightly
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
    seeds_needed: int | None  # for a gain of this size to be shown; None where seeds alone cannot
    p_permutation: float = math.nan  # of seeds' signs, see `sign_flip`; uncorrected
    p_permutation_holm: float = math.nan


def macro_recall(right: Right, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro recall of each seed, (S,)."""
    found: NDArray[np.float64] = right.astype(np.float64) @ image_weights(labels)
    return found


def interval(values: NDArray[np.float64], units: Units, rng: np.random.Generator) -> Interval:
    """Interval of the class-balanced mean of `values` (S, N) by hierarchical bootstrap.

    Test images are drawn with replacement within their class, or whole groups where they come in groups (see `Units`), the
    same for all seeds, and seeds with replacement; the deviations of both are stretched by sqrt(n/(n-1)), since n values
    spread less than their law. What images alone make seeds differ by is taken off the seeds, where it would count twice.
    The percentiles are then widened by t/z with Satterthwaite's degrees of freedom, without which an
    interval of 3 seeds covers far less than its level (Hesterberg 2015, sections 3 and 4.1.2).
    """
    s = len(values)
    estimates = units.mean(values)
    mean = float(estimates.mean())
    drawn = units.draws(values.mean(0), DRAWS, rng)
    images, seeds, spread = float(drawn.var(ddof=1)), 0.0, 0.0
    if s > 1:
        spread = float(estimates.var(ddof=1))
        seeds = max(0.0, spread - image_share(values, units)) / s
        deviations = (estimates - mean) * math.sqrt(s * seeds / max(spread, 1e-300) * s / (s - 1))
        drawn = drawn + deviations[rng.integers(0, s, size=(DRAWS, s))].mean(1)
    df = _degrees(seeds + images, spread / s, images, s, units)
    tail = (1 - LEVEL) / 2
    wider = float(stats.t.ppf(1 - tail, df) / stats.norm.ppf(1 - tail))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    error = math.sqrt(seeds + images)
    return Interval(mean, mean + (low - mean) * wider, mean + (high - mean) * wider, error, df)


def image_share(values: NDArray[np.float64], units: Units) -> float:
    """Variance between seeds' estimates that comes from seeds differing on single test images."""
    s = len(values)
    return float(units.variance(values - values.mean(0)).mean()) * s / (s - 1)


def _degrees(total: float, seeds: float, images: float, s: int, units: Units) -> float:
    """Satterthwaite's degrees of freedom of `total`, from the two variances it is made of.

    seeds: the variance between seeds as observed, with S-1 degrees: taking the images' part off it, in
    `total`, makes it no surer. images: with the test units' degrees.
    """
    parts = images**2 / units.degrees + (seeds**2 / (s - 1) if s > 1 else 0.0)
    return float(np.clip(total**2 / parts, 1.0, 1e6)) if parts > 0 else 1e6


def gain(
    arm: str,
    reference: str,
    right: Mapping[str, Right],
    units: Units,
    rng: np.random.Generator,
) -> Gain:
    """One arm against another, paired; p uncorrected (see `holm`)."""
    values = right[arm].astype(np.float64) - right[reference].astype(np.float64)
    found = interval(values, units, rng)
    per_seed = units.mean(values)
    s = len(per_seed)
    spread = float(per_seed.std(ddof=1)) if s > 1 else float("nan")
    p = 1.0
    if found.error > 1e-12:
        p = float(2 * stats.t.sf(abs(found.mean) / found.error, found.df))
    # Twins have a spread of 0 up to rounding; an effect in units of nothing is not defined.
    effect = found.mean / spread if s > 1 and spread > 1e-12 else float("nan")
    flipped = sign_flip(per_seed)
    return Gain(arm, reference, found, p, p, effect, "no difference shown", None, flipped)


def sign_flip(per_seed: NDArray[np.float64]) -> float:
    """Two-sided p of the paired permutation test (Fisher 1935): could each seed's gain as well have the other sign?

    Exact over all 2^S signs up to 12 seeds, of more over 4096 drawn ones. It asks nothing of how gains are
    distributed, and cannot be under 2^(1-S): .0625 of five seeds. nan for one seed.
    """
    if len(per_seed) < 2:
        return math.nan
    # Gains of equal size are equal whatever their last digit, or signs would be told apart by rounding.
    found = stats.permutation_test(
        (per_seed.round(12),), np.mean, permutation_type="samples", n_resamples=2**12,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)


def seeds_needed(
    found: Interval, variance: tuple[float, float], seeds: int, units: Units, arms: int
) -> int | None:
    """Seeds, more than there are, of which a gain of this size would be shown in four of five runs (POWER); None up to 1000.

    variance: of one seed, and of the test images, which more seeds do not lessen. arms: how many p-values
    are corrected together.
    """
    of_seed, images = variance
    for more in range(max(LEAST_SEEDS, seeds + 1), 1001):
        df = _degrees(of_seed / more + images, of_seed / more, images, more, units)
        t = stats.t.ppf([1 - (1 - LEVEL) / 2 / arms, POWER], df).sum()
        if abs(found.mean) > t * math.sqrt(of_seed / more + images):
            return more
    return None


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, step-down (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[int(at)]))
        adjusted[int(at)] = floor
    return adjusted
