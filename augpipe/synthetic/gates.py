"""Gates: conditions on fidelity metrics for publishing a balanced set, such as `memorisation.p > 0.01`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from augpipe.synthetic.options import condition

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Outcome:
    """gate: its text. holds: in every row that it applies to. detail: the values, or why there is none."""

    gate: str
    holds: bool
    detail: str


def outcome(gate: str, table: pd.DataFrame) -> Outcome:
    """Evaluate a gate on a table of `fidelity.COLUMNS`. It does not hold for a figure without a value."""
    each, name, sign, bound = condition(gate)
    rows = table[(table.metric == name) & ((table["class"] != "") == each)]
    if each:  # skip classes without synthetic images
        rows = rows[rows.n_synthetic > 0]
    parts, holds = [], len(rows) > 0
    for label, value, note in zip(rows["class"], rows.value, rows.note, strict=True):
        passes = math.isfinite(value) and OPERATORS[sign](value, bound)
        holds = holds and passes
        if not each or not passes:
            prefix = f"class {label}: " if label else ""
            parts.append(f"{prefix}{value:.4g}" if math.isfinite(value) else f"{prefix}not given, {note}")
    return Outcome(gate, holds, "; ".join(parts) if parts else "in every class" if holds else "not given")
