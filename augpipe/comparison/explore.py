"""The first look, or explore stage: every arm against a reference with corrected p-values, and the conclusion in one
sentence.

The verdict of a run with a confirm stage is decided in `comparison/decision.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

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
    interval,
    seeds_needed,
)
from augpipe.comparison.finalists import finalists
from augpipe.comparison.options import LABELS, Metric
from augpipe.comparison.paired import Difference, difference
from augpipe.comparison.simultaneous import simultaneous
from augpipe.comparison.units import Units


def gains(right: Mapping[str, Right], units: Units, reference: str) -> list[Gain]:
    """Gain in macro recall of every other arm over `reference`, with corrected p-values,
    joint intervals and verdicts.
    """
    results = [gain(arm, reference, right, units) for arm in right if arm != reference]
    # Where an image is not classified correctly, its class does not matter for recalls.
    outputs = {arm: np.where(of, units.labels, -1)[:, None] for arm, of in right.items()}
    family = [difference(outputs[g.arm], outputs[reference], units, name=g.arm) for g in results]
    return with_verdicts(results, family, units)


def with_verdicts(results: Sequence[Gain], family: Sequence[Difference], units: Units) -> list[Gain]:
    """Gains over one reference with p-values corrected over them, joint intervals, and the verdicts that these give.

    family: the paired difference of each gain, in points.
    """
    corrected = holm([g.p for g in results])
    flipped = [g.p_permutation for g in results]
    flipped = holm(flipped) if np.isfinite(flipped).all() else flipped
    rows = zip(results, family, simultaneous(family, units), corrected, flipped, strict=True)
    adjusted = []
    for g, pair, member, p, p_signs in rows:
        seeds = len(pair.values)
        joint = replace(g.interval, low=member.low / 100, high=member.high / 100)
        decision = verdict(joint, member.p, seeds, units)
        # With one seed, only a lower bound is known.
        needed = LEAST_SEEDS if decision == "too few seeds to say" else None
        if decision in ("no difference shown", "too few seeds to say") and seeds > 1:
            needed = seeds_needed(g.interval, _variances(pair), seeds, units, len(results))
        adjusted.append(
            replace(
                g,
                p_holm=p,
                p_permutation_holm=p_signs,
                verdict=decision,
                seeds_needed=needed,
                joint=joint,
                p_joint=member.p,
            )
        )
    return adjusted


def _variances(pair: Difference) -> tuple[float, float]:
    """Variance of one seed, and of the test images, of a difference as a fraction."""
    seeds = len(pair.values)
    of_seed = pair.scale**2 * float(pair.values.mean(1).var(ddof=1))
    return of_seed / 100**2, max(0.0, pair.error**2 - of_seed / seeds) / 100**2


def verdict(estimate: Interval, p: float, seeds: int, units: Units) -> Verdict:
    """`better` or `worse` only if interval and p, corrected for the number of arms, agree,
    with enough seeds and test images.
    """
    if units.least < LEAST_IMAGES:
        return "too few test images to say"
    if seeds < LEAST_SEEDS:
        return "too few seeds to say"
    if p < 1 - LEVEL and estimate.low > 0:
        return "better"
    if p < 1 - LEVEL and estimate.high < 0:
        return "worse"
    return "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """The comparison of all arms, as the report shows it."""

    baseline: str
    strongest: str  # the arm without a trained generator with the best metric on val
    best: str | None  # the arm with a trained generator with the best metric on val
    levels: dict[str, Interval]  # the metric of each arm on test
    over_baseline: dict[str, Gain]
    over_strongest: dict[str, Gain]
    sentence: str
    metric: Metric = "macro_recall"


def compare_arms(
    right: Mapping[str, Right], units: Units, val: Mapping[str, float], generative: Mapping[str, bool], baseline: str
) -> Comparison:
    """Compare arms by their correct predictions on test (see `Right`).

    val: mean val macro recall of each arm, which selects the arms named in the verdict: selecting the best of many by
    test would be optimistic. generative: whether an arm uses images of a trained generator.
    """
    levels = {a: _level(r, units) for a, r in right.items()}
    return conclude(levels, lambda reference: gains(right, units, reference), val, generative, baseline)


def conclude(
    levels: dict[str, Interval],
    against: Callable[[str], list[Gain]],
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
    metric: Metric = "macro_recall",
) -> Comparison:
    """Build the comparison from each arm's level and its gains over a reference; the rest as in `compare_arms`."""
    chosen = finalists({arm: val[arm] for arm in levels}, generative)
    strongest, best = chosen.rival or baseline, chosen.contender
    over_baseline = {g.arm: g for g in against(baseline)}
    over_strongest = {g.arm: g for g in against(strongest)}
    comparison = Comparison(baseline, strongest, best, levels, over_baseline, over_strongest, "", metric)
    return replace(comparison, sentence=_sentence(comparison, generative))


def _level(right: Right, units: Units) -> Interval:
    """Interval of an arm's macro recall, within 0..1."""
    return clip_to_unit(interval(right.astype(np.float64), units))


def clip_to_unit(estimate: Interval) -> Interval:
    """Clip an interval to 0..1, such that it contains its mean: without variance, rounding may put the mean outside."""
    mean = min(1.0, max(0.0, estimate.mean))
    low, high = max(0.0, min(estimate.low, mean)), min(1.0, max(estimate.high, mean))
    return replace(estimate, mean=mean, low=low, high=high)


def _sentence(comparison: Comparison, generative: Mapping[str, bool]) -> str:
    """The verdict as one sentence, with its uncertainty."""
    lead = comparison.best or comparison.strongest
    lead_gain = comparison.over_baseline.get(lead)
    if lead_gain is None:
        return (
            f"No arm shows images of a trained generator, and by validation none is better than the baseline "
            f"{comparison.baseline!r}."
        )
    change = f"changed {LABELS[comparison.metric]} by {format_gain(lead_gain)} over {comparison.baseline!r}"
    if lead_gain.verdict in ("too few seeds to say", "too few test images to say"):
        need = (
            f"at least {LEAST_SEEDS} seeds are needed"
            if lead_gain.verdict == "too few seeds to say"
            else f"at least {LEAST_IMAGES} test images of every class, of as many groups of like size, are needed"
        )
        kind = "arm with a trained generator" if comparison.best else "arm"
        shown = f"{lead_gain.verdict[0].upper()}{lead_gain.verdict[1:]}"
        return f"{shown}: the best {kind} by validation, {lead!r}, {change}; {need}."
    if comparison.best is None:
        best = f"the best arm by validation, {lead!r}, {change}: {lead_gain.verdict}."
        return f"No arm shows images of a trained generator; {best}"
    if lead_gain.verdict == "better":
        return _sentence_of_a_gain(comparison, f"{lead!r} {change}")
    harm = lead_gain.verdict == "worse"
    result = "Synthetic images did harm" if harm else "No gain from a trained generator is shown"
    return f"{result}: the best arm with one by validation, {lead!r}, {change}; {_who_else(comparison, generative)}."


def _sentence_of_a_gain(comparison: Comparison, change: str) -> str:
    """The sentence if the best generative arm beat the baseline:
    did it also beat the strongest arm without a generator?
    """
    if comparison.strongest == comparison.baseline:
        return f"Synthetic images helped: {change}."
    over_strongest = comparison.over_strongest[str(comparison.best)]
    result = {
        "better": "Synthetic images helped",
        "worse": "Synthetic images beat the baseline, but not the strongest arm without a trained generator",
    }.get(over_strongest.verdict, "Synthetic images beat the baseline, but are not shown to be needed")
    return (
        f"{result}: {change}, and by {format_gain(over_strongest)} over the strongest arm without a trained "
        f"generator, {comparison.strongest!r}."
    )


def _who_else(comparison: Comparison, generative: Mapping[str, bool]) -> str:
    """Arms that beat the baseline, although the one selected on val did not."""
    better = [a for a, g in comparison.over_baseline.items() if g.verdict == "better"]
    if not better:
        return "nothing beat the baseline"
    text = f"{_names(better)} beat the baseline"
    if any(generative[a] for a in better):
        text += ", but validation did not choose "
        text += _names([a for a in better if generative[a]])
    return text


def _names(arms: Sequence[str]) -> str:
    return ", ".join(repr(arm) for arm in arms)


def format_gain(gain: Gain) -> str:
    """`+1.2 points (95% interval -0.3 to +2.7, p .12)`, both corrected for the number of arms."""
    interval = gain.shown
    return (
        f"{100 * interval.mean:+.1f} points ({100 * LEVEL:.0f}% interval {100 * interval.low:+.1f} to "
        f"{100 * interval.high:+.1f}, p {gain.shown_p:.2g})"
    )
