"""The verdict: every arm against a reference, corrected p-values, and the answer in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import (
    LEAST_IMAGES,
    LEAST_SEEDS,
    LEVEL,
    Gain,
    Interval,
    Right,
    Verdict,
    gain,
    holm,
    image_share,
    interval,
    seeds_needed,
)
from augpipe.comparison.units import Units


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
    of_seed = max(0.0, float(units.mean(values).var(ddof=1)) - image_share(values, units))
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
