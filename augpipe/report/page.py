"""The HTML page: self-contained, escaped, readable from disk without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np

from augpipe.comparison import Gain
from augpipe.config import dump
from augpipe.counts import imbalance_ratio
from augpipe.images import ImageSet
from augpipe.report.contrasts import contrasts
from augpipe.report.figures import counts_bars, gain_dots, image_strip, recall_heatmap
from augpipe.report.judgement import sections
from augpipe.report.results import ArmResult, Results, versions

SHOWN = 8  # images of a class in a strip
QUARANTINED = 20  # rows of quarantine.csv that the page shows
CLASSES = 40  # classes with strips, so that the page stays small

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("augpipe.report", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(results: Results) -> str:
    """The report of a comparison."""
    arms = [result.arm.name for result in results.arms]
    train = results.splits["train"]
    found = results.comparison
    recall = np.array([[results.mean(a, "recall", c) for c in results.classes] for a in arms])
    others = [a for a in arms if a in found.over_baseline]
    generative = {result.arm.name: result.generative for result in results.arms}
    gains = [found.over_baseline[a] for a in others]
    return TEMPLATES.get_template("report.html").render(
        results=results,
        experiment=results.experiment,
        found=found,
        asked=_asked(results),
        came_in=_came_in(results),
        counts_figures=_counts_figures(results),
        gains_figure=gain_dots(gains, [generative[a] for a in others], found.baseline)
        if gains
        else None,
        contrasts=contrasts(results),
        arms=[_row(results, a, generative[a]) for a in arms],
        recall_figure=recall_heatmap(arms, results.classes, list(train.counts().values()), recall),
        recall=[(a, [f"{100 * v:.1f}" for v in row]) for a, row in zip(arms, recall, strict=True)],
        strips=_strips(results),
        left_out=max(0, len(results.classes) - CLASSES),
        judged=sections(results.judged, CLASSES) if len(results.judged.fidelity) else None,
        config=dump(results.asked),
        versions=versions(),
    )


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


def _counts_figures(results: Results) -> list[tuple[str, str, str]]:
    """(arms, alt text, figure) for each different filling; the first is the data as they are."""
    seen: dict[tuple[float, ...], list[str]] = {}
    for result in results.arms:
        seen.setdefault(tuple(result.recipe["synthetic_count"]), []).append(result.arm.name)
    real = results.arms[0].recipe["real_count"]
    return [
        (
            ", ".join(arms),
            "; ".join(
                f"{c}: {r:.12g} real, {s:.12g} synthetic"
                for c, r, s in zip(results.classes, real, made, strict=True)
            ),
            counts_bars(results.classes, real, made),
        )
        for made, arms in seen.items()
    ]


def _points(gain: Gain | None) -> dict[str, str]:
    """A gain as text, in points; dashes for an arm against itself."""
    if gain is None:
        return {"mean": "–", "interval": "–", "p": "–", "verdict": "reference"}
    i = gain.interval
    needed = f" ({gain.seeds_needed} seeds would be needed)" if gain.seeds_needed else ""
    unsure = gain.verdict in ("no difference shown", "too few seeds to say")
    return {
        "mean": f"{100 * i.mean:+.2f}",
        "interval": f"{100 * i.low:+.2f} to {100 * i.high:+.2f}",
        "p": f"{gain.p_holm:.3f}" if gain.p_holm >= 0.001 else "< 0.001",
        "verdict": gain.verdict + (needed if unsure else ""),
    }


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
        "synthetic": f"{sum(own.recipe['synthetic_count']):.12g}",
        "share": f"{own.recipe['synthetic_share']:.2f}",
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


def _strips(results: Results) -> list[dict[str, Any]]:
    """For each class a strip of real training images and one of each generator's."""
    rows = []
    for label, name in list(enumerate(results.classes))[:CLASSES]:
        strips = [("real, train", _strip(results.splits["train"], label))]
        strips += [(g.name, _strip(g.samples, label)) for g in results.generators]
        rows.append({"class": name, "strips": strips})
    return rows


def _strip(images: ImageSet, label: int) -> str:
    rows = np.flatnonzero(images.labels == label)[:SHOWN]
    return image_strip(images.images[rows])
