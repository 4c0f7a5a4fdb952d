"""Fidelity metrics over features: realism and diversity of synthetic images, and memorisation of train.

Real images are those of val, never of test. A metric is one function in a module of this package. It declares how many
images it needs; with fewer, its value is nan, with a note that says why. Each is computed overall and per class, with
the numbers of images that it is based on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from augpipe.synthetic.fidelity import distances, from_classifiers, manifolds, memorisation, pixels
from augpipe.synthetic.fidelity.base import Compared, Metric, Noted, RefusedError, metrics
from augpipe.synthetic.fidelity.distances import class_kid, kid

__all__ = [
    "COLUMNS",
    "Compared",
    "RefusedError",
    "class_kid",
    "distances",
    "from_classifiers",
    "kid",
    "manifolds",
    "measure",
    "memorisation",
    "metrics",
    "names",
    "pixels",
]

COLUMNS = ("class", "metric", "value", "n_real", "n_synthetic", "note")
Row = tuple[str, str, float, int, int, str]


def names() -> tuple[str, ...]:
    """The name of every figure."""
    return tuple(name for _, entry in metrics.items() for name in entry.gives)


def measure(compared: Compared, classes: tuple[str, ...]) -> pd.DataFrame:
    """Compute every metric, overall and per class, as a tidy table of COLUMNS.

    note: why there is no value, or a remark on it. The overall rows (empty class name) cover only the classes that have
    synthetic images: classes that the plan left out do not count as missing.
    """
    rows = list(_rows("", compared.filled()))
    for label, name in enumerate(classes):
        rows += _rows(name, compared.of(label))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(name: str, compared: Compared) -> Iterator[Row]:
    """All metric rows for one class, or for all (empty name)."""
    have = len(compared.real), len(compared.synthetic)
    for _, entry in metrics.items():
        for figure, result in figures(entry, compared).items():
            yield (name, figure, result.value, *have, result.note)


def figures(entry: Metric, compared: Compared) -> dict[str, Noted]:
    """Every figure of one metric; nan with the reason if the metric cannot be computed."""
    reason = _too_few(entry, compared)
    if not reason:
        try:
            result = entry.function(compared)
        except RefusedError as error:
            reason = str(error)
        else:
            values = {entry.gives[0]: result} if isinstance(result, float | Noted) else result
            return {name: _noted(values[name]) for name in entry.gives}
    return {name: Noted(math.nan, reason) for name in entry.gives}


def _noted(value: float | Noted) -> Noted:
    return value if isinstance(value, Noted) else Noted(float(value), "")


def _too_few(entry: Metric, compared: Compared) -> str:
    """Why there are too few images; empty if there are enough."""
    for what, least, n in (
        ("real", entry.least_real, len(compared.real)),
        ("synthetic", entry.least, len(compared.synthetic)),
    ):
        if n < least:
            return f"needs {least} {what} images, has {n}"
    if entry.needs_train and (compared.train is None or len(compared.train) == 0):
        return "needs train images, has none"
    return ""
