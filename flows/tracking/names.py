"""Metrics and params of a run, under names that MLflow accepts.

MLflow's page draws a section of charts for each prefix: `data/` counts images, `train/` is measured while something
trains (over steps or kimg), `val/` and `test/` are of the finished model, `fidelity/` of synthetic images, `confirm/`
of that stage.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

from augpipe.core.store import load_table
from augpipe.pipeline.records import Prepared, Recipe, Scored, TrainedClassifier, TrainedGenerator

LONGEST: Final = 120  # characters of a class in a name; MLflow takes 250 for a whole one


class Point(NamedTuple):
    """A value of a metric. after: seconds since the start of the run; None for its end."""

    name: str
    value: float
    step: int = 0
    after: float | None = None


def data_points(prepared: Prepared) -> list[Point]:
    """Images of each class and split, and of the source."""
    counts = {
        f"data/{split}/{name}": n
        for split, per in prepared.counts.items()
        for name, n in zip(safe_names(prepared.classes), per.values(), strict=True)
    }
    intake = prepared.intake
    counts |= {
        "data/source_images": intake.images,
        "data/quarantined": intake.quarantined,
        "data/removed_duplicates": intake.removed,
    }
    return [Point(name, float(n)) for name, n in counts.items()]


def history_points(trained: TrainedGenerator) -> list[Point]:
    """A generator's losses and metrics over kimg, and its best tick."""
    table = load_table(trained.history)
    # With a small budget ticks may share a step, but never both step and time.
    names = safe_metrics([str(name) for name in table.metric.unique()])
    points = [
        Point(f"train/{names[str(row.metric)]}", float(row.value), round(float(row.kimg)), float(row.seconds))
        for row in table.itertuples()
    ]
    return [
        *points,
        Point("train/best_kimg", trained.best_kimg),
        Point("train/seconds", trained.time.seconds),
        Point("val/kid", trained.best_metric),
    ]


def arm_points(recipe: Recipe, prepared: Prepared, trained: TrainedClassifier, scored: Scored) -> list[Point]:
    """Counts of an arm's training data, its classifier's training history, and its scores."""
    names = safe_names(prepared.classes)
    metrics = [
        Point("data/synthetic_share", recipe.synthetic_share),
        Point("data/synthetic_ratio", recipe.synthetic_ratio),
        Point("train/best_step", trained.best_step),
        Point("train/seconds", trained.time.seconds),
    ]
    of_class = dict(zip(prepared.classes, names, strict=True))
    metrics += [
        Point(f"data/kept/{row['check']}/{of_class[row['class']]}", row["passed"] / row["seen"])
        for row in recipe.funnel
        if row["seen"]
    ]
    metrics += [Point(f"data/short/{of_class[name]}", float(n)) for name, n in recipe.short.items()]
    for key, value in (recipe.chosen or {}).items():
        by_class = value if isinstance(value, dict) else {"": value}
        metrics += [
            Point(f"val/chosen_{key}" + (f"/{of_class[name]}" if name else ""), float(v))
            for name, v in by_class.items()
            if v != "fill"
        ]
    for kind in ("real_count", "synthetic_count"):
        counts = zip(names, getattr(recipe, kind), strict=True)
        metrics += [Point(f"data/{kind}/{name}", float(n)) for name, n in counts]
    history = load_table(trained.history)
    metrics += [Point(f"train/{row.metric}", float(row.value), int(row.step)) for row in history.itertuples()]
    for row in load_table(scored.table).to_dict("records"):
        name = str(row["class"])
        # An empty class means the overall value; class names are read back from CSV unchanged.
        key = f"{row['split']}/{row['metric']}" + (f"/{of_class[name]}" if name else "")
        metrics.append(Point(key, float(row["value"])))
    return metrics


def fidelity_points(table: pd.DataFrame, classes: Sequence[str], prefix: str = "fidelity") -> list[Point]:
    """Rows of a fidelity table as `prefix/metric`, and `prefix/metric/class` for values per class."""
    # A generator of cells has figures of these instead of classes.
    every = list(dict.fromkeys([*classes, *(name for name in table["class"] if name)]))
    of_class = dict(zip(every, safe_names(every), strict=True))
    return [
        Point(f"{prefix}/{metric}" + (f"/{of_class[name]}" if name else ""), float(value))
        for metric, name, value in zip(table.metric, table["class"], table.value, strict=True)
    ]


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings and lists to one mapping with dotted keys; empty ones stay `{}` or `[]`."""
    items: Iterator[tuple[str, Any]] | None = None
    if isinstance(values, Mapping) and values:
        # Keys may be class names (of a fill, of a share), and two may collide in MLflow's characters.
        items = zip(safe_names([str(key) for key in values]), values.values(), strict=True)
    elif isinstance(values, list) and values and isinstance(values[0], dict | list):
        items = ((str(key), value) for key, value in enumerate(values))
    if items is None:
        return {_safe(prefix): json.dumps(values) if isinstance(values, list) else values}
    return {
        key: value
        for name, inner in items
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def _safe(name: str) -> str:
    """Make a name valid for MLflow: letters, digits, `_ - . /` and spaces; any other character becomes `_`.

    A name of more than LONGEST characters is cut, and ends with 8 digits of its SHA-256.
    """
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)


def safe_names(classes: Sequence[str]) -> list[str]:
    """Class names made valid for MLflow and kept distinct."""
    wanted = [_safe(name).replace("/", "_").strip(" .") or "class" for name in classes]
    taken = {plain for plain, name in zip(wanted, classes, strict=True) if plain == name}
    names: list[str] = []
    for label, (plain, name) in enumerate(zip(wanted, classes, strict=True)):
        unique = plain if plain == name else f"{plain}_{label}"
        while unique != name and unique in taken:
            unique += "_"
        names.append(unique)
        taken.add(unique)
    return names


def safe_metrics(names: Sequence[str]) -> dict[str, str]:
    """Map metric names, `val_kid` or `val_kid/<class>`, to distinct names valid for MLflow."""
    classed = [name for name in names if "/" in name]
    tails = safe_names([name.partition("/")[2] for name in classed])
    named = {name: f"{name.partition('/')[0]}/{tail}" for name, tail in zip(classed, tails, strict=True)}
    return {name: named.get(name, name) for name in names}
