"""Paired gains with intervals, corrected p-values, and the verdict.

The unit of pairing is (seed, test image), images of a group drawn together: arms of a seed share split, initial weights
and batch order.
The gain is in macro recall. Its interval holds both the luck of a seed (generator and classifier) and
that of the drawn test images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.units import Units, image_weights

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
        seeds = max(0.0, spread - _image_share(values, units)) / s
        deviations = (estimates - mean) * math.sqrt(s * seeds / max(spread, 1e-300) * s / (s - 1))
        drawn = drawn + deviations[rng.integers(0, s, size=(DRAWS, s))].mean(1)
    df = _degrees(seeds + images, spread / s, images, s, units)
    tail = (1 - LEVEL) / 2
    wider = float(stats.t.ppf(1 - tail, df) / stats.norm.ppf(1 - tail))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    error = math.sqrt(seeds + images)
    return Interval(mean, mean + (low - mean) * wider, mean + (high - mean) * wider, error, df)


def _image_share(values: NDArray[np.float64], units: Units) -> float:
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


def gains(
    right: Mapping[str, Right], units: Units, reference: str, rng: np.random.Generator
) -> list[Gain]:
    """Every arm but `reference` against it, p-values corrected over them, with verdicts."""
    found = [gain(arm, reference, right, units, rng) for arm in right if arm != reference]
    corrected = holm([g.p for g in found])
    flipped = [g.p_permutation for g in found]
    flipped = holm(flipped) if np.isfinite(flipped).all() else flipped
    told = []
    for g, p, by_signs in zip(found, corrected, flipped, strict=True):
        seeds = len(right[g.arm])
        judged = verdict(g.interval, p, seeds, units)
        needed = LEAST_SEEDS if judged == "too few seeds to say" else None  # of one seed: at least
        if judged in ("no difference shown", "too few seeds to say") and seeds > 1:
            values = right[g.arm].astype(np.float64) - right[reference].astype(np.float64)
            parts = _variances(values, units, g.interval)
            needed = seeds_needed(g.interval, parts, seeds, units, len(found))
        told.append(
            replace(g, p_holm=p, p_permutation_holm=by_signs, verdict=judged, seeds_needed=needed)
        )
    return told


def _variances(values: NDArray[np.float64], units: Units, found: Interval) -> tuple[float, float]:
    """Variance of one seed, and of the test images."""
    of_seed = max(0.0, float(units.mean(values).var(ddof=1)) - _image_share(values, units))
    return of_seed, max(0.0, found.error**2 - of_seed / len(values))


def verdict(found: Interval, p_holm: float, seeds: int, units: Units) -> Verdict:
    """`better` or `worse` only where interval and corrected p agree, on enough seeds and test images."""
    if units.least < LEAST_IMAGES:
        return "too few test images to say"
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
    units: Units,
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
    rng: np.random.Generator,
) -> Comparison:
    """Compare arms by hits on test (see `Right`).

    val: mean val macro recall of each arm, by which the arms named in the verdict are chosen: the best of
    many by test would flatter itself. generative: whether an arm shows images of a trained generator.
    """
    levels = {a: _level(r, units, rng) for a, r in right.items()}

    def against(reference: str) -> list[Gain]:
        return gains(right, units, reference, rng)

    return conclude(levels, against, val, generative, baseline)


def conclude(
    levels: dict[str, Interval],
    against: Callable[[str], list[Gain]],
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
) -> Comparison:
    """The comparison out of each arm's level and its gains against a reference; the rest as in `compare`."""
    strongest = max((a for a in levels if not generative[a]), key=lambda a: val[a])
    candidates = [a for a in levels if generative[a]]
    best = max(candidates, key=lambda a: val[a]) if candidates else None
    over_baseline = {g.arm: g for g in against(baseline)}
    over_strongest = {g.arm: g for g in against(strongest)}
    found = Comparison(baseline, strongest, best, levels, over_baseline, over_strongest, "")
    return replace(found, sentence=_sentence(found, generative))


def _level(right: Right, units: Units, rng: np.random.Generator) -> Interval:
    """Interval of an arm's own macro recall, which lies in 0..1."""
    return as_share(interval(right.astype(np.float64), units, rng))


def as_share(found: Interval) -> Interval:
    """An interval of what lies in 0..1, around its mean: where nothing varies, rounding may put the mean beyond an end."""
    mean = min(1.0, max(0.0, found.mean))
    low, high = max(0.0, min(found.low, mean)), min(1.0, max(found.high, mean))
    return replace(found, mean=mean, low=low, high=high)


def _sentence(found: Comparison, generative: Mapping[str, bool]) -> str:
    """The verdict in one sentence with its uncertainty."""
    lead = found.best or found.strongest
    own = found.over_baseline.get(lead)
    if own is None:
        return (
            f"No arm shows images of a trained generator, and by validation none is better than the baseline "
            f"{found.baseline!r}."
        )
    change = f"changed macro recall by {told_gain(own)} over {found.baseline!r}"
    if own.verdict in ("too few seeds to say", "too few test images to say"):
        need = (
            f"at least {LEAST_SEEDS} seeds are needed"
            if own.verdict == "too few seeds to say"
            else f"at least {LEAST_IMAGES} test images of every class, of as many groups of like size, are needed"
        )
        kind = "arm with a trained generator" if found.best else "arm"
        return f"{own.verdict[0].upper()}{own.verdict[1:]}: the best {kind} by validation, {lead!r}, {change}; {need}."
    if found.best is None:
        return f"No arm shows images of a trained generator; the best arm by validation, {lead!r}, {change}: {own.verdict}."
    if own.verdict == "better":
        return _sentence_of_a_gain(found, f"{lead!r} {change}")
    harm = own.verdict == "worse"
    said = "Synthetic images did harm" if harm else "No gain from a trained generator is shown"
    return f"{said}: the best arm with one by validation, {lead!r}, {change}; {_who_else(found, generative)}."


def _sentence_of_a_gain(found: Comparison, change: str) -> str:
    """The best generative arm beat the baseline; what of the strongest arm without a generator?"""
    if found.strongest == found.baseline:
        return f"Synthetic images helped: {change}."
    rival = found.over_strongest[str(found.best)]
    said = {
        "better": "Synthetic images helped",
        "worse": "Synthetic images beat the baseline, but not the strongest arm without a trained generator",
    }.get(rival.verdict, "Synthetic images beat the baseline, but are not shown to be needed")
    return (
        f"{said}: {change}, and by {told_gain(rival)} over the strongest arm without a trained "
        f"generator, {found.strongest!r}."
    )


def _who_else(found: Comparison, generative: Mapping[str, bool]) -> str:
    """Which arms did beat the baseline, though the one chosen on val did not."""
    better = [a for a, g in found.over_baseline.items() if g.verdict == "better"]
    if not better:
        return "nothing beat the baseline"
    told = f"{_names(better)} beat the baseline"
    if any(generative[a] for a in better):
        told += ", but validation did not choose "
        told += _names([a for a in better if generative[a]])
    return told


def _names(arms: Sequence[str]) -> str:
    return ", ".join(repr(arm) for arm in arms)


def told_gain(found: Gain) -> str:
    """`+1.2 points (95% interval -0.3 to +2.7, p .12)`; p is Holm's."""
    i = found.interval
    return (
        f"{100 * i.mean:+.1f} points ({100 * LEVEL:.0f}% interval {100 * i.low:+.1f} to "
        f"{100 * i.high:+.1f}, p {found.p_holm:.2g})"
    )
