"""Paired gains in macro recall with bootstrap intervals and corrected p-values.

The unit of pairing is (seed, test image), with images of a group resampled together: arms of a seed share split,
initial weights and batch order. The interval covers both the variance between seeds (generator and classifier) and that
of the sampled test images. It depends on the two arms alone: no random numbers are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from augpipe.comparison.units import Units, image_weights
from augpipe.core.counts import LEAST_TEST

LEVEL: Final = 0.95
SMOOTHED: Final = 0.05  # of the standard deviation: spread added to the bootstrap distribution
PERIOD: Final = 32.0  # standard deviations within which that distribution lies
AT_ONCE: Final = 32  # terms of its sum
VANISHED: Final = 1e-6
LEAST_SEEDS: Final = 3
POWER: Final = 0.8  # probability with which `seeds_needed` seeds show a gain
LEAST_IMAGES: Final = LEAST_TEST
Right = NDArray[np.bool_]  # (seeds, test images): whether an image was classified correctly
Verdict = Literal["better", "worse", "no difference shown", "too few seeds to say", "too few test images to say"]


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
    """An arm against a reference, in a metric (0..1).

    joint, p_joint: the interval and p that hold for all arms of the comparison together; None and nan where a family of
    differences has none (splits that differ by seed).
    """

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
    joint: Interval | None = None
    p_joint: float = math.nan

    @property
    def shown(self) -> Interval:
        """The interval that the verdict is read from: the joint one, if there is one."""
        return self.interval if self.joint is None else self.joint

    @property
    def shown_p(self) -> float:
        """p of the verdict, corrected for the number of arms."""
        return self.p_holm if self.joint is None else self.p_joint


def macro_recall(right: Right, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro recall of each seed, (S,)."""
    recalls: NDArray[np.float64] = right.astype(np.float64) @ image_weights(labels)
    return recalls


def interval(values: NDArray[np.float64], units: Units, hidden: float = 0.0) -> Interval:
    """Interval of the class-balanced mean of `values` (S, N) by hierarchical bootstrap; hidden: variance to be added.

    Test images are resampled with replacement within their class, or as whole groups if they have groups (see `Units`),
    the same for all seeds; seeds are resampled with replacement. The deviations of both are scaled by sqrt(n/(n-1)),
    since a sample of n values spreads less than its distribution. The part of the variance between seeds that comes
    from the test images is subtracted from it, because it would count twice. The percentiles are then widened by t/z
    with Satterthwaite's degrees of freedom, without which an interval of 3 seeds covers far less than its level
    (Hesterberg 2015, sections 3 and 4.1.2). They are those of all resamples, not of a sample of them: the distribution
    is computed.
    """
    s = len(values)
    estimates = units.mean(values)
    mean = float(estimates.mean())
    mean_values = values.mean(0)
    images = float(units.variance(mean_values[None])[0]) + hidden
    seeds, spread, deviations = 0.0, 0.0, np.zeros(1)
    if s > 1:
        spread = float(estimates.var(ddof=1))
        seeds = max(0.0, spread - variance_from_images(values, units)) / s
        deviations = (estimates - mean) * math.sqrt(s * seeds / max(spread, 1e-300) * s / (s - 1))
    df = float(degrees(seeds + images, spread / s, images, s, units.degrees))
    error = math.sqrt(seeds + images)

    def characteristic(t: NDArray[np.float64]) -> NDArray[np.complex128]:
        of_seeds = np.exp(1j * np.outer(t, deviations) / s).mean(1) ** s
        product: NDArray[np.complex128] = units.characteristic(mean_values, t) * of_seeds
        return product * np.exp(-hidden * t**2 / 2)

    tail = (1 - LEVEL) / 2
    wider = float(stats.t.ppf(1 - tail, df) / stats.norm.ppf(1 - tail))
    low, high = quantiles(characteristic, error, (tail, 1 - tail))
    return Interval(mean, mean + wider * low, mean + wider * high, error, df)


def quantiles(
    characteristic: Callable[[NDArray[np.float64]], NDArray[np.complex128]],
    deviation: float,
    probabilities: Sequence[float],
) -> list[float]:
    """Quantiles of a distribution with mean 0 and this standard deviation, from its characteristic function.

    The distribution function is inverted by Davies (1973): a sum over the characteristic function at the midpoints of
    steps of 2π / PERIOD, until it has vanished. That of a distribution of few values does not vanish: normal noise of
    SMOOTHED standard deviations is added.
    """
    if deviation < 1e-12:
        return [0.0] * len(probabilities)
    step, terms = 2 * math.pi / PERIOD, list[NDArray[np.complex128]]()
    for start in range(0, math.ceil(5.5 / SMOOTHED / step), AT_ONCE):
        at = step * np.arange(start + 0.5, start + AT_ONCE, dtype=np.float64)
        value = characteristic(at / deviation) * np.exp(-((SMOOTHED * at) ** 2) / 2)
        terms.append(value * step / math.pi / at)
        if np.abs(value).max() < VANISHED:
            break
    weights = np.concatenate(terms)
    midpoints = (np.arange(len(weights)) + 0.5) * step

    def excess(x: float, probability: float) -> float:
        below = 0.5 - float((weights * np.exp(-1j * midpoints * x)).imag.sum())
        return below - probability

    return [
        deviation * float(optimize.brentq(excess, -PERIOD / 2, PERIOD / 2, args=(probability,)))
        for probability in probabilities
    ]


def hidden_variance(values: NDArray[np.float64], units: Units, weights: NDArray[np.float64] | None = None) -> float:
    """Variance of the weighted sum of paired differences (N,) in classes whose images all changed alike.

    Such a class shows no spread, but a few images more might have changed otherwise: half an image is added for each of
    the four outcomes of a pair (Agresti & Min 2005). A class without any change is left out: arms that predict the same
    differ by 0. Images of a group count as one. weights: (N,); None: those of the class-balanced mean.
    """
    variance, weights = 0.0, units.weights if weights is None else weights
    for c, n in units.of_class.items():
        inside = units.labels == c
        of_class = values[inside]
        change = float(of_class[0])
        if abs(change) > 1e-12 and np.ptp(of_class) < 1e-12:
            of_mean = (n * change**2 + 1 - (n * change) ** 2 / (n + 2)) / (n + 2) ** 2
            variance += of_mean * float(weights[inside].sum()) ** 2
    return variance


def variance_from_images(values: NDArray[np.float64], units: Units) -> float:
    """Part of the variance between seeds' estimates that is due to seeds differing on single test images."""
    s = len(values)
    return float(units.variance(values - values.mean(0)).mean()) * s / (s - 1)


def degrees(
    total: ArrayLike, seeds: ArrayLike, images: ArrayLike, s: ArrayLike, of_images: float
) -> NDArray[np.float64]:
    """Satterthwaite's degrees of freedom of the variance `total`, from its two components; elementwise.

    seeds: the observed variance between seeds, with S-1 degrees of freedom: subtracting the images' part, as in
    `total`, does not make it more precise. images: with `of_images` degrees of freedom, those of the test units.
    """
    total, seeds, images, s = (np.asarray(v, np.float64) for v in (total, seeds, images, s))
    parts = images**2 / of_images + np.where(s > 1, seeds**2 / np.maximum(s - 1, 1), 0.0)
    df: NDArray[np.float64] = np.clip(total**2 / np.where(parts > 0, parts, 1.0), 1.0, 1e6)
    return np.where(parts > 0, df, 1e6)


def p_value(estimate: Interval) -> float:
    """Two-sided p of a mean of 0, by the estimate's own standard error and degrees of freedom."""
    if estimate.error < 1e-12:  # no spread at all: only equal arms can be equal
        return 1.0 if abs(estimate.mean) < 1e-12 else 0.0
    return float(2 * stats.t.sf(abs(estimate.mean) / estimate.error, estimate.df))


def gain(arm: str, reference: str, right: Mapping[str, Right], units: Units) -> Gain:
    """Gain of an arm over a reference, paired; p is uncorrected (see `holm`)."""
    values = right[arm].astype(np.float64) - right[reference].astype(np.float64)
    estimate = interval(values, units, hidden_variance(values.mean(0), units))
    per_seed = units.mean(values)
    s = len(per_seed)
    deviation = float(per_seed.std(ddof=1)) if s > 1 else float("nan")
    p = p_value(estimate)
    # Arms with equal gains deviate by 0 up to rounding: their effect size is undefined.
    effect = estimate.mean / deviation if s > 1 and deviation > 1e-12 else float("nan")
    flipped = sign_flip(per_seed)
    return Gain(arm, reference, estimate, p, p, effect, "no difference shown", None, flipped)


def sign_flip(per_seed: NDArray[np.float64]) -> float:
    """Two-sided p of the paired permutation test over the signs of the seeds' gains (Fisher 1935).

    Exact over all 2^S signs up to 12 seeds, over 4096 random ones for more. It makes no assumption on the distribution
    of gains, and cannot be below 2^(1-S): .0625 for five seeds. nan for one seed.
    """
    if len(per_seed) < 2:
        return math.nan
    # Round, so that gains of equal size are ties: rounding errors would distinguish their signs.
    test = stats.permutation_test(
        (per_seed.round(12),), np.mean, permutation_type="samples", n_resamples=2**12, rng=np.random.default_rng(0)
    )
    return float(test.pvalue)


def seeds_needed(estimate: Interval, variance: tuple[float, float], seeds: int, units: Units, arms: int) -> int | None:
    """Number of seeds, above the present one, that shows a gain of this size with probability POWER; None if over 1000.

    variance: of one seed, and of the test images, which more seeds do not reduce. arms: number of p-values that are
    corrected together.
    """
    n = np.arange(max(LEAST_SEEDS, seeds + 1), 1001)
    between, images = variance[0] / n, np.float64(variance[1])
    df = degrees(between + images, between, images, n, units.degrees)
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
