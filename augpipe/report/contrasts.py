"""What synthetic images change, beside what they cost: ratio curve, confusions of two arms, gain against seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from augpipe.classifiers.options import Mix
from augpipe.comparison.bootstrap import Interval
from augpipe.pipeline.experiment import Arm
from augpipe.report.figures import confusion_pair, cost_dots, ratio_curve
from augpipe.report.results import Results

CONFUSED: Final = 15  # pairs of classes in the table
AMOUNT: Final = ("fill", "share")  # of a mix: how many synthetic images, not what becomes of them
LEAST: Final = 0.005  # share of a class's images that counts as confused


def contrasts(results: Results) -> dict[str, Any]:
    """Figures and tables; None where there is nothing to show."""
    return {"ratio": _ratio(results), "confusion": _confusion(results), "cost": _cost(results)}


def _ratio(results: Results) -> dict[str, Any] | None:
    """The share of synthetic items against macro recall; the baseline and the strongest arm without a trained generator as lines.

    A line joins arms that differ in nothing but how many synthetic images they show.
    """
    found = results.comparison
    series: dict[str, list[tuple[float, Interval]]] = {}
    rows = []
    for result in results.arms:
        level, share = found.levels[result.arm.name], float(result.recipe.synthetic_share)
        if not result.arm.generators:
            continue
        name = _series(result.arm)
        series.setdefault(name, []).append((share, level))
        rows.append((name, result.arm.name, f"{share:.3f}", *_level(level)))
    if not series:
        return None
    levels = {name: found.levels[name] for name in (found.baseline, found.strongest)}
    return {"figure": ratio_curve(series, levels), "rows": sorted(rows)}


def _series(arm: Arm) -> str:
    """What an arm is but for its amount of synthetic images: generator, and what its mix sets otherwise than a plain one."""
    mix, plain = arm.mix.model_dump(mode="json"), Mix().model_dump(mode="json")
    other = {k: v for k, v in mix.items() if k not in AMOUNT and v != plain[k]}
    told = [f"{k} {_told(v)}" for k, v in other.items()]
    return ", ".join([arm.made_by, *told])


def _told(value: Any) -> str:
    """A setting in a few words; a mapping by its kind, or by a mark of its own where it has none."""
    if not isinstance(value, Mapping):
        return str(value)
    rest = json.dumps(value, sort_keys=True)
    mark = hashlib.blake2b(rest.encode(), digest_size=2).hexdigest()
    return str(value["kind"]) if set(value) == {"kind"} else f"{value.get('kind', '')}#{mark}"


def _level(level: Interval) -> tuple[str, str]:
    return f"{100 * level.mean:.2f}", f"{100 * level.low:.2f} to {100 * level.high:.2f}"


def _confusion(results: Results) -> dict[str, Any] | None:
    """The baseline beside the best arm by val, and what differs most."""
    found = results.comparison
    lead = found.best or found.strongest
    if lead == found.baseline:
        return None
    before, after = (results.confusions[name] for name in (found.baseline, lead))
    worst = np.maximum(before, after)
    np.fill_diagonal(worst, 0)
    pairs = [
        (int(at) // len(worst), int(at) % len(worst))
        for at in np.argsort(-worst, axis=None, kind="stable")[:CONFUSED]
    ]
    rows = [
        (
            results.classes[a],
            results.classes[b],
            f"{100 * before[a, b]:.1f}",
            f"{100 * after[a, b]:.1f}",
        )
        for a, b in pairs
        if worst[a, b] >= LEAST
    ]
    figure = confusion_pair(results.classes, {found.baseline: before, lead: after})
    return {"figure": figure, "lead": lead, "rows": rows}


def _cost(results: Results) -> dict[str, Any] | None:
    """Seconds and kimg beside the gain over the baseline."""
    found = results.comparison
    kimg = {g.name: float(np.mean(g.best_kimg)) for g in results.generators}
    others = [r for r in results.arms if r.arm.name in found.over_baseline]
    if not others:
        return None
    gains = [found.over_baseline[r.arm.name] for r in others]
    trained = [
        ", ".join(f"{kimg[name]:.0f}" for name in r.arm.generators if kimg.get(name))
        for r in others
    ]
    rows = [
        (
            r.arm.name,
            f"{r.seconds:.0f}",
            of or "–",
            f"{100 * g.interval.mean:+.2f}",
        )
        for r, g, of in zip(others, gains, trained, strict=True)
    ]
    figure = cost_dots(
        [
            f"{r.arm.name} ({of} kimg)" if of else r.arm.name
            for r, of in zip(others, trained, strict=True)
        ],
        [max(r.seconds, 0.1) for r in others],
        gains,
        [r.generative for r in others],
    )
    return {"figure": figure, "rows": rows}
