"""Comparison over seeds with different splits: the corrected resampled t-test.

Training sets of two splits overlap, so that their results are correlated and the spread between seeds is too small.
Nadeau & Bengio (2003, section 4) add the ratio of test to training images to 1/S in the variance of a mean over S
splits. Test images are not resampled: each split has different ones already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.bootstrap import LEAST_SEEDS, LEVEL, POWER, Gain, Interval, holm, p_value
from augpipe.comparison.explore import Comparison, clip_to_unit, conclude, verdict
from augpipe.comparison.metrics import Outputs, score
from augpipe.comparison.options import Metric
from augpipe.comparison.units import Units

Estimates = Mapping[str, NDArray[np.float64]]  # arm → metric of each seed, (S,)


def estimates(
    outputs: Mapping[str, Sequence[Outputs]],
    labels: Sequence[NDArray[np.int64]],
    metric: Metric = "macro_recall",
    classes: Sequence[Sequence[int]] = (),
) -> dict[str, NDArray[np.float64]]:
    """The metric of each arm and seed on the test images of the seed, (S,).

    outputs: of each seed predicted classes (N,), or probabilities (N,K) for `macro_auc`. classes: of each seed those
    that the metric is restricted to; empty: all.
    """
    restricted = classes or [()] * len(labels)
    return {
        arm: np.array(
            [
                score(output[None, None], y, metric, of).values.item()
                for output, y, of in zip(by_seed, labels, restricted, strict=True)
            ]
        )
        for arm, by_seed in outputs.items()
    }


def resolution(labels: NDArray[np.int64]) -> float:
    """Macro recall that one test image of the smallest class is worth."""
    counts = np.unique(labels, return_counts=True)[1]
    return 1 / (len(counts) * int(counts.min()))


def interval(values: NDArray[np.float64], ratio: float, step: float = 0.0) -> Interval:
    """Mean of `values` (S,) with its corrected interval; for one seed mean ± 1, since its spread is unknown.

    ratio: test images over training images. step: resolution of the values, as that of macro recall is one test image:
    rounding to it hides a variance of step² / 12.
    """
    s, mean = len(values), float(values.mean())
    if s < 2:
        return Interval(mean, mean - 1, mean + 1, 1.0, 1.0)
    error = math.sqrt((1 / s + ratio) * max(float(values.var(ddof=1)), step**2 / 12))
    half = float(stats.t.ppf((1 + LEVEL) / 2, s - 1)) * error
    return Interval(mean, mean - half, mean + half, error, s - 1.0)


def gain(arm: str, reference: str, values: Estimates, ratio: float, step: float = 0.0) -> Gain:
    """One arm against another, paired by split; p uncorrected for the number of arms."""
    differences = values[arm] - values[reference]
    estimate = interval(differences, ratio, step)
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else float("nan")
    p = p_value(estimate) if len(differences) > 1 else 1.0
    effect = estimate.mean / spread if spread > 1e-12 else float("nan")
    # No permutation test: it assumes independent seeds, and splits of one set are not.
    return Gain(arm, reference, estimate, p, p, effect, "no difference shown", None)


def gains(values: Estimates, reference: str, ratio: float, tests: Sequence[Units]) -> list[Gain]:
    """Gain of every other arm over `reference`, p-values corrected over these arms, with verdicts.
    tests: of each split.
    """
    step, smallest = _step(tests), min(tests, key=lambda of: of.least)
    results = [gain(arm, reference, values, ratio, step) for arm in values if arm != reference]
    adjusted = []
    for g, p in zip(results, holm([g.p for g in results]), strict=True):
        seeds = len(values[g.arm])
        decision = verdict(g.interval, p, seeds, smallest)
        needed = LEAST_SEEDS if decision == "too few seeds to say" else None
        if decision in ("no difference shown", "too few seeds to say") and seeds > 1:
            spread = float((values[g.arm] - values[reference]).var(ddof=1))
            needed = seeds_needed(g.interval.mean, spread, ratio, seeds, len(results))
        adjusted.append(replace(g, p_holm=p, verdict=decision, seeds_needed=needed))
    return adjusted


def seeds_needed(mean: float, variance: float, ratio: float, seeds: int, arms: int) -> int | None:
    """Number of splits, above the present one, that shows such a gain with probability POWER; None if over 1000.

    More splits do not reduce the part of the variance due to overlapping training sets, `ratio` · variance.
    """
    for more in range(max(LEAST_SEEDS, seeds + 1), 1001):
        t = stats.t.ppf([1 - (1 - LEVEL) / 2 / arms, POWER], more - 1).sum()
        if abs(mean) > t * math.sqrt((1 / more + ratio) * variance):
            return more
    return None


def _step(tests: Sequence[Units]) -> float:
    return max(resolution(units.labels) for units in tests)


def compare_over_splits(
    values: Estimates,
    tests: Sequence[Units],
    ratio: float,
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
    metric: Metric = "macro_recall",
) -> Comparison:
    """As `explore.compare_arms`, over splits. tests: of each split."""
    levels = {arm: clip_to_unit(interval(recalls, ratio, _step(tests))) for arm, recalls in values.items()}
    return conclude(levels, lambda reference: gains(values, reference, ratio, tests), val, generative, baseline, metric)
