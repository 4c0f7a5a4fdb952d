"""The HTML report: self-contained, escaped, readable from disk without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import Gain
from augpipe.comparison.options import DEFINITIONS, LABELS
from augpipe.data.imbalance import imbalance_ratio
from augpipe.generators.options import CLOSED_SET
from augpipe.pipeline.confirm import Confirmed
from augpipe.pipeline.confounding import over_sampling
from augpipe.pipeline.experiment import dump
from augpipe.report.answer_section import answer_section
from augpipe.report.contrasts import contrasts
from augpipe.report.figures import counts_bars, gain_dots
from augpipe.report.heatmaps import recall_heatmap
from augpipe.report.misread import misread
from augpipe.report.page_templates import TEMPLATES
from augpipe.report.quality_section import sections
from augpipe.report.quiz import quiz_file
from augpipe.report.results import ArmResult, Results, versions
from augpipe.report.strips import CLASSES, strips

LARGEST = 8_000_000  # bytes of the page
# Fractions of the image budget, tried in order until the page is small enough.
ROOM = (1.0, 0.5, 0.2, 0.0)
FILLINGS = 8  # class count figures that the page shows
MANY_COPIES = 0.005  # fraction of test images with a near copy in train or val from which the page's head warns
PAIRS = 66  # rows of the table of all pairs of arms that the page shows: of twelve arms
QUARANTINED = 20  # rows of quarantine.csv that the page shows


def page(results: Results) -> str:
    """HTML report of a comparison; shows fewer images if it would exceed LARGEST bytes."""
    for room in ROOM:
        text = _page(results, room)
        if len(text.encode()) <= LARGEST:
            break
    return text


def _page(results: Results, room: float) -> str:
    """Render the report; room: fraction of the budget for images and class count figures."""
    arms = [result.arm.name for result in results.arms]
    train = results.splits["train"]
    comparison = results.comparison
    recall = np.array([[results.mean(a, "recall", c) for c in results.classes] for a in arms])
    generative = {result.arm.name: result.generative for result in results.arms}
    counts = list(train.counts().values())
    shown, left_out = strips(results, room)
    fillings = _counts_figures(results)
    few = max(1, round(room * FILLINGS))
    return TEMPLATES.get_template("report.html").render(
        results=results,
        experiment=results.experiment,
        answer=answer_section(results),
        confounded=over_sampling(results.experiment),
        chosen_by_val=chosen_by_val(results),
        comparison=comparison,
        metric=LABELS[comparison.metric],
        definition=DEFINITIONS[comparison.metric],
        data=_data(results),
        intake=_intake(results),
        counts_figures=fillings[:few],
        more_fillings=len(fillings) - few,
        gains_figure=_forest(results, comparison.over_baseline, comparison.baseline),
        rivals_figure=_forest(results, comparison.over_strongest, comparison.strongest)
        if comparison.strongest != comparison.baseline
        else None,
        pairs=_pairs(results),
        contrasts=contrasts(results),
        arms=[_row(results, a, generative[a]) for a in arms],
        recall_figure=recall_heatmap(arms, results.classes, counts, recall),
        recall=_recall(results, arms, recall),
        references=lambda row: _references(results, row),
        misread=misread(results, room),
        strips=shown,
        left_out=left_out,
        quizzes=[file for file in (quiz_file(results, g) for g in results.generators) if file],
        quality=sections(results.quality, CLASSES, room) if len(results.quality.fidelity) else None,
        shortcuts=_shortcuts(results),
        config=dump(results.requested),
        versions=versions(),
        machine=", ".join(f"{what} {value}" for what, value in results.machine.items()),
    )


def chosen_by_val(results: Results) -> str:
    """Which of the two arms validation chose among several, and why their figures are optimistic; empty if none."""
    kinds = ((results.finalists.contender, True, "with"), (results.finalists.rival, False, "without"))
    choices = []
    for arm, generative, kind in kinds:
        n = sum(result.generative == generative for result in results.arms)
        if arm is not None and n > 1:
            choices.append(f"{arm} among {n} arms {kind} a trained generator")
    if not choices:
        return ""
    return (
        f"Validation chose {' and '.join(choices)}, by the same trained seeds that test then scored. A lucky seed "
        "raises both, so the scores of an arm that was chosen are somewhat too high here. "
        + (
            "The answer above is of fresh seeds, which had no part in the choice."
            if isinstance(results.confirmed, Confirmed)
            else "Only new seeds of the chosen arms give a fair value (the confirm stage)."
        )
    )


def _references(results: Results, row: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The distinct arms that an arm is compared with, except itself, and its gain over each."""
    comparison = results.comparison
    against = {comparison.baseline: row["gain"], comparison.strongest: row["over_strongest"]}
    return [(name, gain) for name, gain in against.items() if name != row["name"]]


def _pairs(results: Results) -> list[tuple[str, str, str, str]]:
    """The pair, its difference and both of its intervals, largest difference first; empty for a single pair, or more
    than fit on a page."""
    table = results.pairs
    if not 1 < len(table) <= PAIRS:
        return []
    largest = table.reindex(table.difference.abs().sort_values(ascending=False, kind="stable").index)
    return [
        (
            f"{row.arm} − {row.reference}",
            f"{row.difference:+.1f}",
            f"{row.low:+.1f} to {row.high:+.1f}",
            f"{row.low_joint:+.1f} to {row.high_joint:+.1f}",
        )
        for row in largest.itertuples()
    ]


def _shortcuts(results: Results) -> list[tuple[str, ...]]:
    """Arm, how well origin is detected, its information on the class, and their product."""
    return [
        (arm, *("–" if one[key] is None else f"{one[key]:.3f}" for key in ("detected", "information", "bits")))
        for arm, one in results.quality.shortcuts.items()
    ]


def _forest(results: Results, gains: Mapping[str, Gain], reference: str) -> str | None:
    if not gains:
        return None
    generative, base = results.generative(), results.by_seed(reference)
    by_seed = {arm: [100 * (v - base[seed]) for seed, v in results.by_seed(arm).items()] for arm in gains}
    trained = [generative[arm] for arm in gains]
    return gain_dots(list(gains.values()), trained, reference, results.comparison.metric, by_seed)


def _recall(results: Results, arms: list[str], recall: NDArray[np.float64]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the recall table with real training image counts,
    transposed if there are more arms than classes.
    """
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


def _data(results: Results) -> dict[str, Any]:
    train = results.splits["train"]
    return {
        "images": {name: len(images) for name, images in results.splits.items()},
        "shape": "x".join(map(str, train.spec.shape)),
        "ratio": imbalance_ratio(train.counts()),
        "imbalance": results.experiment.imbalance.profile,
        "source": results.experiment.source.kind,
    }


def _intake(results: Results) -> dict[str, Any]:
    """Intake record, ignored files, and the first rows of quarantine.csv."""
    intake, table = results.intake, results.quarantine
    return {
        "record": intake,
        "many_copies": _many_copies(intake.near_copies),
        "ignored": ", ".join(f"{n:,} {suffix}" for suffix, n in intake.ignored.items()),
        "rows": list(table.head(QUARANTINED).itertuples(index=False, name=None)),
        "more": max(0, len(table) - QUARANTINED),
    }


def _many_copies(fraction: float) -> str:
    """A warning for the head of the page if too many test images have a near copy in train or val."""
    if fraction <= MANY_COPIES:
        return ""
    return (
        f"{100 * fraction:.1f}% of the test images are nearly equal to one in train or val, so that all recalls are "
        "too high: look at the pairs (augpipe inspect on the run's experiment.yaml shows some), and set duplicates: "
        "near to remove them from train and val."
    )


def _counts_figures(results: Results) -> list[tuple[str, str, str, list[tuple[str, str, str]]]]:
    """(arms, alt text, figure, table) for each distinct set of synthetic counts, in the order of the arms."""
    seen: dict[tuple[float, ...], list[str]] = {}
    for result in results.arms:
        seen.setdefault(tuple(result.recipe.synthetic_count), []).append(result.arm.name)
    real = results.arms[0].recipe.real_count
    return [
        (
            ", ".join(arms),
            "; ".join(
                f"{c}: {_count(r)} real, {_count(s)} synthetic"
                for c, r, s in zip(results.classes, real, synthetic, strict=True)
            ),
            counts_bars(results.classes, real, synthetic),
            [(c, _count(r), _count(s)) for c, r, s in zip(results.classes, real, synthetic, strict=True)],
        )
        for synthetic, arms in seen.items()
    ]


def _count(images: float) -> str:
    """A number of images; with one decimal if it is the mean of different numbers."""
    return f"{images:,.0f}" if abs(images - round(images)) < 1e-9 else f"{images:,.1f}"


def _points(gain: Gain | None) -> dict[str, str]:
    """A gain as text, in percentage points; dashes for an arm against itself."""
    if gain is None:
        dashes = dict.fromkeys(("mean", "interval", "p", "alone", "signs", "signs_holm", "effect"), "–")
        return {**dashes, "verdict": "reference"}
    interval = gain.shown
    return {
        "mean": f"{100 * interval.mean:+.2f}",
        "interval": f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}",
        "p": _p(gain.shown_p),
        "verdict": gain.verdict + _needed(gain),
        "alone": _p(gain.p),
        "signs": _p(gain.p_permutation),
        "signs_holm": _p(gain.p_permutation_holm),
        "effect": f"{gain.effect_size:.2f}" if np.isfinite(gain.effect_size) else "–",
    }


def _needed(gain: Gain) -> str:
    """Number of seeds needed to show a gain of this size, if it is not shown."""
    if gain.verdict == "too few seeds to say":
        return f" (at least {gain.seeds_needed} seeds would be needed)" if gain.seeds_needed else ""
    if gain.verdict != "no difference shown" or abs(gain.interval.mean) < 1e-12:
        return ""
    if gain.seeds_needed is None:
        return " (more seeds alone would not show a gain of this size, or more than 1,000 would be needed)"
    return f" (about {gain.seeds_needed} seeds would be needed for a gain of this size)"


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _row(results: Results, arm: str, generative: bool) -> dict[str, Any]:
    comparison = results.comparison
    level = comparison.levels[arm]
    result = next(r for r in results.arms if r.arm.name == arm)
    return {
        "name": arm,
        "generative": generative,
        "level": f"{100 * level.mean:.2f}",
        "interval": f"{100 * level.low:.2f} to {100 * level.high:.2f}",
        "val": f"{100 * results.level(arm, 'val'):.2f}",
        "gain": _points(comparison.over_baseline.get(arm)),
        "over_strongest": _points(comparison.over_strongest.get(arm)),
        "short": ", ".join(f"{n} of {name}" for name, n in result.short.items()),
        "knowledge": "" if (known := results.experiment.knowledge()[result.arm.name]) == CLOSED_SET else known,
        "synthetic": _count(sum(result.recipe.synthetic_count)),
        "share": f"{result.recipe.synthetic_share:.2f}",
        "seconds": f"{result.seconds:.0f}",
        "chosen": _chosen(result),
        "others": {
            metric: _percent(results.mean(arm, metric))
            for metric in (
                "macro_recall",
                "macro_f1",
                "accuracy",
                "macro_auc",
                "geometric_mean",
                "minority_recall",
                "ece",
            )
        },
    }


def _chosen(result: ArmResult) -> dict[str, str]:
    """Values selected on val for each seed; dashes if nothing was to be selected."""
    mix, choices = result.arm.mix, list(result.chosen.values())
    columns = {
        "share": [
            "per class" if isinstance(choice["share"], Mapping) else str(choice["share"])
            for choice in choices
            if mix.share in ("auto", "per_class")
        ],
        "part": [f"{choice['part']:.2f}" for choice in choices if mix.fill == "search"],
        "steps": [str(choice["steps"]) for choice in choices],
    }
    # No search steps: no image passed the checks, so nothing was tried.
    tried = any(choice["steps"] for choice in choices)
    return {
        "best_step": ", ".join(map(str, result.best_step.values())),
        **{key: ", ".join(values) if values and tried else "–" for key, values in columns.items()},
    }


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}" if np.isfinite(fraction) else "–"
