"""The head of the page: what the answer rests on, what to do next, what it cost."""

from __future__ import annotations

from typing import Any

from augpipe.comparison.options import LABELS
from augpipe.core.errors import several
from augpipe.pipeline.budget import duration
from augpipe.pipeline.confirm import Confirmed, NotConfirmed
from augpipe.pipeline.replicates import AS_SET
from augpipe.report.answer import advice
from augpipe.report.forest import ForestRow, forest
from augpipe.report.rare import rare_classes
from augpipe.report.replicates_figure import replicates_figure
from augpipe.report.results import Results
from augpipe.report.secondary import Secondary
from augpipe.report.shift import Shift


def answer_section(results: Results) -> dict[str, Any]:
    """Values of the page's head. confirmed: whether the answer is of a confirm stage; figure: None without one."""
    confirmed = results.confirmed
    is_confirmed = isinstance(confirmed, Confirmed)
    with_generator, without = results.finalists.contender, results.finalists.rival
    generative = with_generator is not None
    rare = rare_classes(results) if generative else []
    return {
        "confirmed": is_confirmed,
        "pooled": isinstance(confirmed, Confirmed) and bool(confirmed.pooled),
        "with_generator": with_generator,
        "without": without,
        "basis": _basis(results),
        "figure": _figure(confirmed) if isinstance(confirmed, Confirmed) else None,
        "forest": _forest(results) if results.secondary else None,
        "groups": _groups(results),
        "shift": None if results.shift is None else _shift(results, results.shift),
        "alike": any(one.remark for one in results.secondary),
        "rare_alike": any("by both" in cell for row in rare for cell in row),
        "secondary": [_secondary(one) for one in results.secondary],
        "rare": rare,
        "design": _design(confirmed),
        "next": advice(confirmed, generative),
        "cost": _cost(results),
    }


def _basis(results: Results) -> str:
    """What was trained for the answer, and which seeds chose the arms."""
    first = several(len(results.experiment.seeds), "seed")
    confirmed = results.confirmed
    if not isinstance(confirmed, Confirmed):
        return f"All arms were compared once, on {first}; {confirmed.reason}."
    result = confirmed.outcome
    each = "" if result.classifiers == 1 else f"; in each, {result.classifiers} classifiers of either arm"
    looks = len(confirmed.outcomes)
    times = "twice" if looks == 2 else f"{looks} times"
    seen = "" if looks == 1 else f" The result was looked at {times}; interval and p-value allow for that."
    seeds = list(confirmed.classifiers)
    figures = f"95% confidence interval {result.low:+.1f} to {result.high:+.1f} points, p-value {result.p:.2g}.{seen}"
    if confirmed.pooled:
        return (
            f"There are two arms, so validation had nothing to choose: the answer rests on all "
            f"{several(result.generators, 'replicate')} of both (seeds {seeds[0]} to {seeds[-1]}{each}). {figures}"
        )
    return (
        f"Validation chose the two in a first look at all arms ({first}). The answer rests on "
        f"{several(result.generators, 'fresh replicate')} of these two alone (seeds {seeds[0]} to {seeds[-1]}{each}). "
        f"{figures}"
    )


def _design(confirmed: Confirmed | NotConfirmed) -> str:
    """Why so many generators and classifiers were trained, if the run chose their numbers."""
    return confirmed.design if isinstance(confirmed, Confirmed) and confirmed.design != AS_SET else ""


def _figure(confirmed: Confirmed) -> str:
    values, pair = confirmed.values(), confirmed.finalists
    names = [str(arm) for arm in (pair.rival, pair.contender)]
    return replicates_figure(confirmed.outcome, names, [100 * values[arm] for arm in names])


def _forest(results: Results) -> str:
    """The tested difference, then those beside it."""
    confirmed = results.confirmed
    if not isinstance(confirmed, Confirmed):
        raise ValueError("only a confirm stage has differences beside the tested one")
    result = confirmed.outcome
    tested = ForestRow(LABELS[result.metric], result.difference, result.low, result.high, tested=True)
    rows = [ForestRow(one.title, one.difference, one.low, one.high) for one in results.secondary]
    return forest([tested, *rows], result.margin, "difference, points (95% confidence interval)")


def _groups(results: Results) -> dict[str, Any] | None:
    """Figure and rows of the groups of test images by the source's attributes; None without."""
    groups = results.attributes.groups if results.attributes is not None else ()
    if not groups:
        return None
    rows = [ForestRow(f"{g.attribute}: {g.value} ({g.images:,})", g.difference, g.low, g.high) for g in groups]
    cells = [
        (
            g.attribute,
            g.value,
            f"{g.images:,}",
            f"{g.without:.1f}",
            f"{g.with_generator:.1f}",
            f"{g.difference:+.1f}",
            f"{g.low:+.1f} to {g.high:+.1f}",
            f"{g.p:.2g}",
            g.remark,
        )
        for g in groups
    ]
    margin = results.confirmed.outcome.margin if isinstance(results.confirmed, Confirmed) else 0.0
    axis = "difference, points (95% confidence interval)"
    return {"figure": forest(rows, margin, axis), "rows": cells}


def _shift(results: Results, shift: Shift) -> dict[str, Any]:
    """Images, the finalists' difference as text, and a row an arm: name, its metric in percent on test and on the
    second test set with its interval, and the gain over the baseline there with its interval, of all arms at once."""
    rows = []
    for arm, level in shift.comparison.levels.items():
        gain = shift.comparison.over_baseline.get(arm)
        rows.append(
            (
                arm,
                f"{100 * results.level(arm):.1f}",
                f"{100 * level.mean:.1f}",
                f"{100 * level.low:.1f} to {100 * level.high:.1f}",
                "" if gain is None else f"{100 * gain.shown.mean:+.1f}",
                "" if gain is None else f"{100 * gain.shown.low:+.1f} to {100 * gain.shown.high:+.1f}",
            )
        )
    one, text = shift.difference, ""
    if one is not None:
        text = (
            f"{one.without:.1f}% without and {one.with_generator:.1f}% with synthetic images: {one.difference:+.1f} "
            f"points (95% confidence interval {one.low:+.1f} to {one.high:+.1f}, p-value {one.p:.2g}), on "
            f"{several(one.replicates, 'replicate')}"
        )
    return {"images": f"{sum(shift.counts.values()):,}", "difference": text, "rows": rows}


def _secondary(one: Secondary) -> tuple[str, ...]:
    """Name, means of both arms in percent, difference in points, its interval, p, remark."""
    return (
        one.title,
        f"{one.without:.1f}",
        f"{one.with_generator:.1f}",
        f"{one.difference:+.1f}",
        f"{one.low:+.1f} to {one.high:+.1f}",
        f"{one.p:.2g}",
        one.remark,
    )


def _cost(results: Results) -> str:
    """What the answer cost; after a run that reused trainings, what they took when they were made."""
    confirmed = results.confirmed
    if results.training_seconds > results.seconds:
        return (
            f"The trainings took {duration(results.training_seconds)}; the last command reused stored ones and took "
            f"{duration(results.seconds)}."
        )
    if not isinstance(confirmed, Confirmed):
        return f"The run took {duration(results.seconds)}."
    return f"The run took {duration(results.seconds)}, of which {duration(confirmed.seconds)} for the fresh replicates."
