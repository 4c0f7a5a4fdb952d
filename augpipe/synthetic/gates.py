"""Gates: figures of fidelity that must hold before a balanced set is published, as `memorisation.p > 0.01`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from augpipe.synthetic.options import condition

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """gate: as given. holds: in every place it was asked of. told: the figures, or why there is none."""

    gate: str
    holds: bool
    told: str


def outcome(gate: str, table: pd.DataFrame) -> Outcome:
    """Whether a gate holds in a table of `fidelity.COLUMNS`. A figure that could not be given holds nothing."""
    each, name, sign, bound = condition(gate)
    own = table[(table.metric == name) & ((table["class"] != "") == each)]
    if each:  # a class that nothing was made of has nothing to ask after
        own = own[own.n_synthetic > 0]
    told, holds = [], len(own) > 0
    for label, value, note in zip(own["class"], own.value, own.note, strict=True):
        good = math.isfinite(value) and OPERATORS[sign](value, bound)
        holds = holds and good
        if not each or not good:
            where = f"class {label}: " if label else ""
            told.append(
                f"{where}{value:.4g}" if math.isfinite(value) else f"{where}not given, {note}"
            )
    return Outcome(
        gate, holds, "; ".join(told) if told else "in every class" if holds else "not given"
    )
