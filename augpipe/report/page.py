"""The HTML page: self-contained, escaped, readable from disk without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import Gain
from augpipe.data.imbalance import imbalance_ratio
from augpipe.pipeline.experiment import dump
from augpipe.report.contrasts import contrasts
from augpipe.report.figures import counts_bars, gain_dots, recall_heatmap
from augpipe.report.judgement import sections
from augpipe.report.results import ArmResult, Results, versions
from augpipe.report.strips import CLASSES, strips

LARGEST = 8_000_000  # bytes of the page
ROOM = (1.0, 0.5, 0.2, 0.0)  # for pictures, the first that does
FILLINGS = 8  # figures of class counts
QUARANTINED = 20  # rows of quarantine.csv that the page shows

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("augpipe.report", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(results: Results) -> str:
    """The report of a comparison, of at most LARGEST bytes: with less room for pictures where it would be larger."""
    for room in ROOM:
        text = _page(results, room)
        if len(text.encode()) <= LARGEST:
            break
    return text


def _page(results: Results, room: float) -> str:
    """room: part of what pictures and figures of counts may take."""
    arms = [result.arm.name for result in results.arms]
    train = results.splits["train"]
    found = results.comparison
    recall = np.array([[results.mean(a, "recall", c) for c in results.classes] for a in arms])
    generative = {result.arm.name: result.generative for result in results.arms}
    counts = list(train.counts().values())
    shown, left_out = strips(results, room)
    fillings = _counts_figures(results)
    few = max(1, round(room * FILLINGS))
    return TEMPLATES.get_template("report.html").render(
        results=results,
        experiment=results.experiment,
        found=found,
        asked=_asked(results),
        came_in=_came_in(results),
        counts_figures=fillings[:few],
        more_fillings=len(fillings) - few,
        gains_figure=_forest(found.over_baseline, generative, found.baseline),
        rivals_figure=_forest(found.over_strongest, generative, found.strongest)
        if found.strongest != found.baseline
        else None,
        contrasts=contrasts(results),
        arms=[_row(results, a, generative[a]) for a in arms],
        recall_figure=recall_heatmap(arms, results.classes, counts, recall),
        recall=_recall(results, arms, recall),
        references=lambda row: _references(results, row),
        strips=shown,
        left_out=left_out,
        judged=sections(results.judged, CLASSES, room) if len(results.judged.fidelity) else None,
        config=dump(results.asked),
        versions=versions(),
        machine=", ".join(f"{what} {value}" for what, value in results.machine.items()),
    )


def _references(results: Results, row: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """What an arm is compared with, and its gain over that: nothing for an arm against itself, none twice."""
    found = results.comparison
    against = {found.baseline: row["gain"], found.strongest: row["over_strongest"]}
    return [(name, own) for name, own in against.items() if name != row["name"]]


def _forest(
    gains: Mapping[str, Gain], generative: Mapping[str, bool], reference: str
) -> str | None:
    if not gains:
        return None
    return gain_dots(list(gains.values()), [generative[arm] for arm in gains], reference)


def _recall(
    results: Results, arms: list[str], recall: NDArray[np.float64]
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of recalls, with the classes' real training images: as few columns as may be."""
    counts = results.splits["train"].counts().values()
    head = ["recall, test, %", "real training images", *arms]
    rows = [
        [name, f"{n:,}", *(f"{100 * v:.1f}" for v in column)]
        for name, n, column in zip(results.classes, counts, recall.T, strict=True)
    ]
    if len(arms) > len(results.classes):
        table = [list(line) for line in zip(head, *rows, strict=True)]
        return table[0], table[1:]
    return head, rows


def _asked(results: Results) -> dict[str, Any]:
    train = results.splits["train"]
    return {
        "images": {name: len(images) for name, images in results.splits.items()},
        "shape": "x".join(map(str, train.spec.shape)),
        "ratio": imbalance_ratio(train.counts()),
        "imbalance": results.experiment.imbalance.profile,
        "source": results.experiment.source.kind,
    }


def _came_in(results: Results) -> dict[str, Any]:
    """What was read, what could not be used, and the first rows of quarantine.csv."""
    intake, table = results.intake, results.quarantine
    return {
        "intake": intake,
        "ignored": ", ".join(f"{n:,} {suffix}" for suffix, n in intake.ignored.items()),
        "rows": list(table.head(QUARANTINED).itertuples(index=False, name=None)),
        "more": max(0, len(table) - QUARANTINED),
    }


def _counts_figures(results: Results) -> list[tuple[str, str, str, list[tuple[str, str, str]]]]:
    """(arms, alt text, figure, table) for each different filling; the first is the data as they are."""
    seen: dict[tuple[float, ...], list[str]] = {}
    for result in results.arms:
        seen.setdefault(tuple(result.recipe.synthetic_count), []).append(result.arm.name)
    real = results.arms[0].recipe.real_count
    return [
        (
            ", ".join(arms),
            "; ".join(
                f"{c}: {r:.12g} real, {s:.12g} synthetic"
                for c, r, s in zip(results.classes, real, made, strict=True)
            ),
            counts_bars(results.classes, real, made),
            [
                (c, f"{r:.12g}", f"{s:.12g}")
                for c, r, s in zip(results.classes, real, made, strict=True)
            ],
        )
        for made, arms in seen.items()
    ]


def _points(gain: Gain | None) -> dict[str, str]:
    """A gain as text, in points; dashes for an arm against itself."""
    if gain is None:
        dashes = dict.fromkeys(
            ("mean", "interval", "p", "alone", "signs", "signs_holm", "effect"), "–"
        )
        return {**dashes, "verdict": "reference"}
    i = gain.interval
    return {
        "mean": f"{100 * i.mean:+.2f}",
        "interval": f"{100 * i.low:+.2f} to {100 * i.high:+.2f}",
        "p": _p(gain.p_holm),
        "verdict": gain.verdict + _needed(gain),
        "alone": _p(gain.p),
        "signs": _p(gain.p_permutation),
        "signs_holm": _p(gain.p_permutation_holm),
        "effect": f"{gain.effect_size:.2f}" if np.isfinite(gain.effect_size) else "–",
    }


def _needed(gain: Gain) -> str:
    """How many seeds would show such a gain, where it is not shown."""
    if gain.verdict == "too few seeds to say":
        return f" (at least {gain.seeds_needed} seeds would be needed)" if gain.seeds_needed else ""
    if gain.verdict != "no difference shown" or abs(gain.interval.mean) < 1e-12:
        return ""
    if gain.seeds_needed is None:
        return " (for a gain of this size seeds alone would not do, or more than 1,000)"
    return f" (some {gain.seeds_needed} seeds would be needed for a gain of this size)"


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _row(results: Results, arm: str, generative: bool) -> dict[str, Any]:
    found = results.comparison
    level = found.levels[arm]
    own = next(result for result in results.arms if result.arm.name == arm)
    return {
        "name": arm,
        "generative": generative,
        "macro_recall": f"{100 * level.mean:.2f}",
        "interval": f"{100 * level.low:.2f} to {100 * level.high:.2f}",
        "val": f"{100 * results.mean(arm, 'macro_recall', split='val'):.2f}",
        "gain": _points(found.over_baseline.get(arm)),
        "over_strongest": _points(found.over_strongest.get(arm)),
        "short": ", ".join(f"{n} of {name}" for name, n in own.short.items()),
        "synthetic": f"{sum(own.recipe.synthetic_count):.12g}",
        "share": f"{own.recipe.synthetic_share:.2f}",
        "seconds": f"{own.seconds:.0f}",
        "chosen": _chosen(own),
        "others": {
            metric: _percent(results.mean(arm, metric))
            for metric in (
                "macro_f1",
                "accuracy",
                "macro_auc",
                "geometric_mean",
                "minority_recall",
                "ece",
            )
        },
    }


def _chosen(own: ArmResult) -> dict[str, str]:
    """What val chose, seed by seed; dashes where nothing was left to it."""
    mix, found = own.arm.mix, list(own.chosen.values())
    told = {
        "share": [
            "of each class its own" if isinstance(one["share"], Mapping) else str(one["share"])
            for one in found
            if mix.share in ("auto", "per_class")
        ],
        "part": [f"{one['part']:.2f}" for one in found if mix.fill == "search"],
        "steps": [str(one["steps"]) for one in found],
    }
    # Without a step nothing was tried: no image had passed the checks.
    tried = any(one["steps"] for one in found)
    return {
        "best_step": ", ".join(map(str, own.best_step.values())),
        **{key: ", ".join(values) if values and tried else "–" for key, values in told.items()},
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if np.isfinite(share) else "–"
