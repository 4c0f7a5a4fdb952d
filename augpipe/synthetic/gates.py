"""Gates: figures of fidelity that must hold before a balanced set is published, as `memorisation.p > 0.01`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import pandas as pd
from pydantic import BeforeValidator

from augpipe.core.errors import UserError, unknown
from augpipe.synthetic import fidelity

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
EXTRA: Final = ("gan_train",)  # figures that are not of a function of two sets


@dataclass(frozen=True)
class Outcome:
    """gate: as given. holds: in every place it was asked of. told: the figures, or why there is none."""

    gate: str
    holds: bool
    told: str


def _plain(text: Any) -> str:
    """Canonical spelling of a gate; UserError for what is none."""
    _parse(text)
    return " ".join(str(text).split())


def _parse(text: Any) -> tuple[bool, str, str, float]:
    """(each class?, figure, operator, bound)."""
    pattern = r"\s*(each\s+)?([A-Za-z0-9_.]+)\s*(>=|<=|>|<)\s*(\S+)\s*"
    found = re.fullmatch(pattern, text) if isinstance(text, str) else None
    if found is None:
        raise UserError(
            f"a gate reads 'FIGURE > NUMBER', or 'each FIGURE > NUMBER' for every class (>, >=, <, <=); got {text!r}"
        )
    each, name, sign, given = found.groups()
    have = (*fidelity.names(), *EXTRA)
    if name not in have:
        raise unknown(f"figure of the gate {text!r}:", name, have)
    try:
        bound = float(given)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise UserError(f"the gate {text!r} needs a number after {sign}; got {given!r}")
    return bool(each), name, sign, bound


# A gate as text, checked.
Gate = Annotated[str, BeforeValidator(_plain)]


def outcome(gate: str, table: pd.DataFrame) -> Outcome:
    """Whether a gate holds in a table of `fidelity.COLUMNS`. A figure that could not be given holds nothing."""
    each, name, sign, bound = _parse(gate)
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
