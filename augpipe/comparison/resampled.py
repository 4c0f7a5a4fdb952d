"""Comparison where each seed has a split of its own: the corrected resampled t-test.

Training sets of two splits overlap, so that their results are alike, and the spread between seeds says too little. Nadeau
& Bengio (2003, section 4) add the ratio of test to training images to 1/S in the variance of a mean over S splits. Test
images are not drawn anew: a fresh split has fresh ones already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.bootstrap import (
    LEAST_SEEDS,
    LEVEL,
    POWER,
    Gain,
    Interval,
    holm,
    macro_recall,
)
from augpipe.comparison.units import Units
from augpipe.comparison.verdict import Comparison, as_share, conclude, verdict

Estimates = Mapping[str, NDArray[np.float64]]  # arm → macro recall of each seed, (S,)


def estimates(
    said: Mapping[str, Sequence[NDArray[np.int64]]], labels: Sequence[NDArray[np.int64]]
) -> dict[str, NDArray[np.float64]]:
    """Macro recall of each arm and seed, from what each test image was taken for and what it is, seed by seed."""
    return {
        arm: np.array(
            [macro_recall((own == y)[None], y)[0] for own, y in zip(by, labels, strict=True)]
        )
        for arm, by in said.items()
    }


def grain(labels: NDArray[np.int64]) -> float:
    """What one test image of the smallest class is worth in macro recall."""
    counts = np.unique(labels, return_counts=True)[1]
    return 1 / (len(counts) * int(counts.min()))


def interval(values: NDArray[np.float64], ratio: float, step: float = 0.0) -> Interval:
    """Mean of `values` (S,) with its corrected interval; of one seed the whole range, since nothing is known of its spread.

    ratio: test images over training images. step: to which values are rounded, as macro recalls are to single test
    images: equal ones differ by so much without showing it, a variance of step² / 12.
    """
    s, mean = len(values), float(values.mean())
    if s < 2:
        return Interval(mean, mean - 1, mean + 1, 1.0, 1.0)
    error = math.sqrt((1 / s + ratio) * max(float(values.var(ddof=1)), step**2 / 12))
    half = float(stats.t.ppf((1 + LEVEL) / 2, s - 1)) * error
    return Interval(mean, mean - half, mean + half, error, s - 1.0)


def gain(arm: str, reference: str, values: Estimates, ratio: float, step: float = 0.0) -> Gain:
    """One arm against another, paired by split; p uncorrected for the number of arms."""
    apart = values[arm] - values[reference]
    found = interval(apart, ratio, step)
    spread = float(apart.std(ddof=1)) if len(apart) > 1 else float("nan")
    p = 1.0
    if len(apart) > 1 and found.error > 1e-12:
        p = float(2 * stats.t.sf(abs(found.mean) / found.error, found.df))
    effect = found.mean / spread if spread > 1e-12 else float("nan")
    # The permutation test takes seeds for independent, which splits of one set are not: none is told here.
    return Gain(arm, reference, found, p, p, effect, "no difference shown", None)


def gains(values: Estimates, reference: str, ratio: float, tests: Sequence[Units]) -> list[Gain]:
    """Every arm but `reference` against it, p-values corrected over them, with verdicts. tests: of each split."""
    step, poorest = _step(tests), min(tests, key=lambda of: of.least)
    found = [gain(arm, reference, values, ratio, step) for arm in values if arm != reference]
    told = []
    for g, p in zip(found, holm([g.p for g in found]), strict=True):
        seeds = len(values[g.arm])
        judged = verdict(g.interval, p, seeds, poorest)
        needed = LEAST_SEEDS if judged == "too few seeds to say" else None
        if judged in ("no difference shown", "too few seeds to say") and seeds > 1:
            spread = float((values[g.arm] - values[reference]).var(ddof=1))
            needed = seeds_needed(g.interval.mean, spread, ratio, seeds, len(found))
        told.append(replace(g, p_holm=p, verdict=judged, seeds_needed=needed))
    return told


def seeds_needed(mean: float, variance: float, ratio: float, seeds: int, arms: int) -> int | None:
    """Splits, more than there are, at which such a gain would be shown with POWER; None where no number up to 1000 would do.

    What overlapping training sets leave unknown, `ratio` · variance, no number of splits takes away.
    """
    for more in range(max(LEAST_SEEDS, seeds + 1), 1001):
        t = stats.t.ppf([1 - (1 - LEVEL) / 2 / arms, POWER], more - 1).sum()
        if abs(mean) > t * math.sqrt((1 / more + ratio) * variance):
            return more
    return None


def _step(tests: Sequence[Units]) -> float:
    return max(grain(of.labels) for of in tests)


def compare(
    values: Estimates,
    tests: Sequence[Units],
    ratio: float,
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
) -> Comparison:
    """As `comparison.compare`, over splits. tests: of each split."""
    levels = {arm: as_share(interval(own, ratio, _step(tests))) for arm, own in values.items()}
    return conclude(
        levels, lambda reference: gains(values, reference, ratio, tests), val, generative, baseline
    )
