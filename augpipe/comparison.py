"""Paired gains with intervals, corrected p-values, and the verdict.

The unit of pairing is (seed, test image): arms of a seed share split, initial weights and batch order.
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

LEVEL: Final = 0.95
DRAWS: Final = 2000
LEAST_SEEDS: Final = 3
Right = NDArray[np.bool_]  # (seeds, test images): whether an image was classified rightly
Verdict = Literal["better", "worse", "no difference shown", "too few seeds to say"]


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


def macro_recall(right: Right, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro recall of each seed, (S,)."""
    found: NDArray[np.float64] = right.astype(np.float64) @ _image_weights(labels)
    return found


def _image_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 / (K · n_c) for each image: the weighted sum of hits is the macro recall."""
    present, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / (len(present) * counts[inverse])
    return weights


def interval(
    values: NDArray[np.float64], labels: NDArray[np.int64], rng: np.random.Generator
) -> Interval:
    """Interval of the class-balanced mean of `values` (S, N) by hierarchical bootstrap.

    Test images are drawn with replacement within their class, the same for all seeds; seeds are drawn with
    replacement from deviations stretched by sqrt(S/(S-1)), since S values spread less than their law. The
    percentiles are then widened by t/z with Satterthwaite's degrees of freedom, without which an interval
    of 3 seeds covers far less than its level (Hesterberg 2015, sections 3 and 4.1.2).
    """
    s, n = values.shape
    weights = _image_weights(labels)
    estimates = values @ weights
    mean = float(estimates.mean())
    by_seed = np.empty((DRAWS, s))
    groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    for start in range(0, DRAWS, 100):
        drawn = np.zeros((100, n))
        for own in groups:
            drawn[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=100)
        by_seed[start : start + 100] = (drawn * weights) @ values.T
    centre = by_seed.mean(1)
    drawn_means = centre
    if s > 1:
        stretched = (by_seed - centre[:, None]) * math.sqrt(s / (s - 1))
        picks = rng.integers(0, s, size=(DRAWS, s))
        drawn_means = centre + np.take_along_axis(stretched, picks, axis=1).mean(1)
    error = float(drawn_means.std(ddof=1))
    df = _degrees(float(estimates.var(ddof=1)) / s if s > 1 else 0.0, float(centre.var(ddof=1)), s)
    tail = (1 - LEVEL) / 2
    wider = float(stats.t.ppf(1 - tail, df) / stats.norm.ppf(1 - tail))
    low, high = np.quantile(drawn_means, [tail, 1 - tail])
    return Interval(mean, mean + (low - mean) * wider, mean + (high - mean) * wider, error, df)


def _degrees(seeds: float, images: float, s: int) -> float:
    """Satterthwaite's degrees of freedom of a sum of two variances: S-1 for seeds, many for images."""
    total = seeds + images
    if seeds <= 0 or s < 2 or total <= 0:
        return 1e6
    return min(1e6, total**2 / (seeds**2 / (s - 1)))


def gain(
    arm: str,
    reference: str,
    right: Mapping[str, Right],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
) -> Gain:
    """One arm against another, paired; p uncorrected (see `holm`)."""
    values = right[arm].astype(np.float64) - right[reference].astype(np.float64)
    found = interval(values, labels, rng)
    per_seed = values @ _image_weights(labels)
    s = len(per_seed)
    spread = float(per_seed.std(ddof=1)) if s > 1 else float("nan")
    p = 1.0
    if found.error > 0:
        p = float(2 * stats.t.sf(abs(found.mean) / found.error, found.df))
    # Twins have a spread of 0 up to rounding; an effect in units of nothing is not defined.
    effect = found.mean / spread if s > 1 and spread > 1e-12 else float("nan")
    needed = _seeds_needed(found.mean, spread, found.error, s)
    return Gain(arm, reference, found, p, p, effect, "no difference shown", needed)


def _seeds_needed(mean: float, spread: float, error: float, s: int) -> int | None:
    """Seeds at which a gain of this size leaves 0 outside its interval, from 2 up to 1000."""
    if s < 2 or mean == 0:
        return None
    images = max(0.0, error**2 - spread**2 / s)
    for more in range(2, 1001):
        seeds = spread**2 / more
        t = stats.t.ppf(1 - (1 - LEVEL) / 2, _degrees(seeds, images, more))
        if abs(mean) > t * math.sqrt(seeds + images):
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


def gains(
    right: Mapping[str, Right], labels: NDArray[np.int64], reference: str, rng: np.random.Generator
) -> list[Gain]:
    """Every arm but `reference` against it, p-values corrected over them, with verdicts."""
    found = [gain(arm, reference, right, labels, rng) for arm in right if arm != reference]
    corrected = holm([g.p for g in found])
    return [
        Gain(
            g.arm, g.reference, g.interval, g.p, p, g.effect_size,
            verdict(g.interval, p, len(right[g.arm])), g.seeds_needed,
        )
        for g, p in zip(found, corrected, strict=True)
    ]  # fmt: skip


def verdict(found: Interval, p_holm: float, seeds: int) -> Verdict:
    """`better` or `worse` only where interval and corrected p agree; nothing under LEAST_SEEDS seeds."""
    if seeds < LEAST_SEEDS:
        return "too few seeds to say"
    if p_holm < 1 - LEVEL and found.low > 0:
        return "better"
    if p_holm < 1 - LEVEL and found.high < 0:
        return "worse"
    return "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """Everything the report says about arms."""

    baseline: str
    strongest: str  # the arm without a trained generator with the best val macro recall
    best: str | None  # the arm with a trained generator with the best val macro recall
    levels: dict[str, Interval]  # macro recall of each arm on test
    over_baseline: dict[str, Gain]
    over_strongest: dict[str, Gain]
    sentence: str


def compare(
    right: Mapping[str, Right],
    labels: NDArray[np.int64],
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
    rng: np.random.Generator,
) -> Comparison:
    """Compare arms by hits on test (see `Right`).

    val: mean val macro recall of each arm, by which the arms named in the verdict are chosen: the best of
    many by test would flatter itself. generative: whether an arm uses a trained generator.
    """
    strongest = max((a for a in right if not generative[a]), key=lambda a: val[a])
    candidates = [a for a in right if generative[a]]
    best = max(candidates, key=lambda a: val[a]) if candidates else None
    levels = {a: interval(r.astype(np.float64), labels, rng) for a, r in right.items()}
    over_baseline = {g.arm: g for g in gains(right, labels, baseline, rng)}
    over_strongest = {g.arm: g for g in gains(right, labels, strongest, rng)}
    found = Comparison(baseline, strongest, best, levels, over_baseline, over_strongest, "")
    return Comparison(**{**vars(found), "sentence": _sentence(found, generative)})


def _sentence(found: Comparison, generative: Mapping[str, bool]) -> str:
    """The verdict in one sentence with its uncertainty."""
    better = [a for a, g in found.over_baseline.items() if g.verdict == "better"]
    helped = [a for a in better if generative[a]]
    others = [a for a in better if not generative[a]]
    if found.best is None:
        told = f"beat the baseline: {_names(others)}" if others else "nothing beat the baseline"
        return f"No arm uses a trained generator; {told} {found.baseline!r}."
    gain_of_best = found.over_baseline[found.best]
    told = told_gain(gain_of_best)
    if gain_of_best.verdict == "too few seeds to say":
        return (
            f"Too few seeds to say: the best arm with synthetic images by validation, {found.best!r}, "
            f"changed macro recall by {told} over {found.baseline!r}; at least {LEAST_SEEDS} seeds are needed."
        )
    if found.best in helped:
        if found.strongest == found.baseline:
            return f"Synthetic images helped: {found.best!r} changed macro recall by {told} over {found.baseline!r}."
        rival = found.over_strongest[found.best]
        lead = (
            "helped"
            if rival.verdict == "better"
            else "beat the baseline, but are not shown to be needed"
        )
        return (
            f"Synthetic images {lead}: {found.best!r} changed macro recall by {told} over {found.baseline!r}, "
            f"and by {told_gain(rival)} over the strongest arm without them, {found.strongest!r}."
        )
    nothing = (
        "nothing beat the baseline" if not better else f"only {_names(better)} beat the baseline"
    )
    harm = (
        "Synthetic images did harm"
        if gain_of_best.verdict == "worse"
        else "No gain from synthetic images is shown"
    )
    return (
        f"{harm}: the best arm with them by validation, {found.best!r}, changed macro recall by {told} over "
        f"{found.baseline!r}, and {nothing}."
    )


def _names(arms: Sequence[str]) -> str:
    return ", ".join(repr(arm) for arm in arms)


def told_gain(found: Gain) -> str:
    """`+1.2 points (95% interval -0.3 to +2.7, p .12)`; p is Holm's."""
    i = found.interval
    return (
        f"{100 * i.mean:+.1f} points ({100 * LEVEL:.0f}% interval {100 * i.low:+.1f} to "
        f"{100 * i.high:+.1f}, p {found.p_holm:.2g})"
    )
