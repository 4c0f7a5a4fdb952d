"""How real synthetic images look, how varied they are, and whether train was memorised: metrics over features.

Real images are those of val, never of test. A metric is one function in a module of this package; it says how
many images it needs, and is refused with a word (nan) where there are fewer. Each is given overall and class
by class, with the numbers of images that it stands on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from augpipe.synthetic.fidelity import distances, judges, manifolds, memorisation, pixels
from augpipe.synthetic.fidelity.base import Compared, Metric, RefusedError, Told, metrics
from augpipe.synthetic.fidelity.distances import class_kid, kid

__all__ = [
    "COLUMNS", "Compared", "class_kid", "distances", "judges", "kid", "manifolds", "measure",
    "memorisation", "metrics", "names", "pixels",
]  # fmt: skip

COLUMNS = ("class", "metric", "value", "n_real", "n_synthetic", "note")
Row = tuple[str, str, float, int, int, str]


def names() -> tuple[str, ...]:
    """The name of every figure."""
    return tuple(name for _, entry in metrics.items() for name in entry.gives)


def measure(compared: Compared, classes: tuple[str, ...]) -> pd.DataFrame:
    """Tidy table of COLUMNS. note: why there is no value, or a word to it.

    The empty class is all that synthetic images were made of: what was not asked for is not missing.
    """
    rows = list(_rows("", compared.filled()))
    for label, name in enumerate(classes):
        rows += _rows(name, compared.of(label))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(name: str, compared: Compared) -> Iterator[Row]:
    """Every figure of one part."""
    have = len(compared.real), len(compared.synthetic)
    for _, entry in metrics.items():
        for figure, told in figures(entry, compared).items():
            yield (name, figure, told.value, *have, told.note)


def figures(entry: Metric, compared: Compared) -> dict[str, Told]:
    """Every figure of one metric, or the word why there is none."""
    word = _too_few(entry, compared)
    if not word:
        try:
            found = entry.function(compared)
        except RefusedError as refused:
            word = str(refused)
        else:
            given = {entry.gives[0]: found} if isinstance(found, float | Told) else found
            return {name: _told(given[name]) for name in entry.gives}
    return {name: Told(math.nan, word) for name in entry.gives}


def _told(value: float | Told) -> Told:
    return value if isinstance(value, Told) else Told(float(value), "")


def _too_few(entry: Metric, compared: Compared) -> str:
    """Why there are not enough images, or ""."""
    for what, least, n in (
        ("real", entry.least_real, len(compared.real)),
        ("synthetic", entry.least, len(compared.synthetic)),
    ):
        if n < least:
            return f"needs {least} {what} images, has {n}"
    if entry.needs_train and (compared.train is None or len(compared.train) == 0):
        return "needs train images, has none"
    return ""
