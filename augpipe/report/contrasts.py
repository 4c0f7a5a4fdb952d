"""Effect and cost of synthetic images: ratio curve, confusion matrices of two arms, gain against seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from augpipe.classifiers.options import Mix
from augpipe.comparison.bootstrap import Interval
from augpipe.pipeline.arm import Arm
from augpipe.report.figures import cost_dots, ratio_curve
from augpipe.report.heatmaps import confusion_pair
from augpipe.report.results import Results

CONFUSED: Final = 15  # pairs of classes in the table
# Options of a mix that set how many synthetic images there are, not how they are used.
AMOUNT: Final = ("fill", "share")
LEAST: Final = 0.005  # smallest fraction of a class's images listed as confused


def contrasts(results: Results) -> dict[str, Any]:
    """Figures and tables; None for those with nothing to show."""
    return {"ratio": _ratio(results), "confusion": _confusion(results), "cost": _cost(results)}


def _ratio(results: Results) -> dict[str, Any] | None:
    """The metric over the fraction of synthetic items, with the baseline and the strongest arm without a trained
    generator as lines.

    A line connects arms that differ only in the number of synthetic images.
    """
    comparison = results.comparison
    series: dict[str, list[tuple[float, Interval]]] = {}
    rows, trained = [], set()
    for result in results.arms:
        level, fraction = comparison.levels[result.arm.name], float(result.recipe.synthetic_share)
        if not result.arm.generators:
            continue
        name = _series(result.arm)
        if result.generative:
            trained.add(name)
        series.setdefault(name, []).append((fraction, level))
        rows.append((name, result.arm.name, f"{fraction:.3f}", *_level(level)))
    if not series:
        return None
    levels = {name: comparison.levels[name] for name in (comparison.baseline, comparison.strongest)}
    return {"figure": ratio_curve(series, levels, comparison.metric, trained), "rows": sorted(rows)}


def _series(arm: Arm) -> str:
    """Name of the series of arms that differ only in the amount of synthetic images:
    generator and non-default mix options.
    """
    mix, default = arm.mix.model_dump(mode="json"), Mix().model_dump(mode="json")
    other = {k: v for k, v in mix.items() if k not in AMOUNT and v != default[k]}
    options = [f"{k} {_short_value(v)}" for k, v in other.items()]
    return ", ".join([arm.made_by, *options])


def _short_value(value: Any) -> str:
    """A setting as short text; a mapping as its kind, plus a hash if it has other options."""
    if not isinstance(value, Mapping):
        return str(value)
    rest = json.dumps(value, sort_keys=True)
    digest = hashlib.blake2b(rest.encode(), digest_size=2).hexdigest()
    return str(value["kind"]) if set(value) == {"kind"} else f"{value.get('kind', '')}#{digest}"


def _level(level: Interval) -> tuple[str, str]:
    return f"{100 * level.mean:.2f}", f"{100 * level.low:.2f} to {100 * level.high:.2f}"


def _confusion(results: Results) -> dict[str, Any] | None:
    """Confusion matrices of the baseline and the best arm on val, and the most frequent confusions."""
    comparison = results.comparison
    lead = comparison.best or comparison.strongest
    if lead == comparison.baseline:
        return None
    before, after = (results.confusions[name] for name in (comparison.baseline, lead))
    worst = np.maximum(before, after)
    np.fill_diagonal(worst, 0)
    pairs = [
        (int(at) // len(worst), int(at) % len(worst)) for at in np.argsort(-worst, axis=None, kind="stable")[:CONFUSED]
    ]
    rows = [
        (results.classes[a], results.classes[b], f"{100 * before[a, b]:.1f}", f"{100 * after[a, b]:.1f}")
        for a, b in pairs
        if worst[a, b] >= LEAST
    ]
    figure = confusion_pair(results.classes, {comparison.baseline: before, lead: after})
    return {"figure": figure, "lead": lead, "rows": rows}


def _cost(results: Results) -> dict[str, Any] | None:
    """Gain over the baseline against seconds and kimg."""
    comparison = results.comparison
    kimg = {g.name: float(np.mean(g.best_kimg)) for g in results.generators}
    others = [r for r in results.arms if r.arm.name in comparison.over_baseline]
    if not others:
        return None
    gains = [comparison.over_baseline[r.arm.name] for r in others]
    trained = [", ".join(f"{kimg[name]:.0f}" for name in r.arm.generators if kimg.get(name)) for r in others]
    rows = [
        (r.arm.name, f"{r.seconds:.0f}", trained_kimg or "–", f"{100 * g.interval.mean:+.2f}")
        for r, g, trained_kimg in zip(others, gains, trained, strict=True)
    ]
    figure = cost_dots(
        [
            f"{r.arm.name} ({trained_kimg} kimg)" if trained_kimg else r.arm.name
            for r, trained_kimg in zip(others, trained, strict=True)
        ],
        [max(r.seconds, 0.1) for r in others],
        gains,
        [r.generative for r in others],
        comparison.metric,
    )
    return {"figure": figure, "rows": rows}
