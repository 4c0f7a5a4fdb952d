"""Columns of a table and arrays of a file that are not used: listed, and refused if one looks like groups.

Pictures of one patient on both sides of a split make every figure too good; a column of patients under an unknown name
would be passed over without a word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, unknown

GROUP_NAMES: Final = re.compile(
    r"(patient|subject|person|participant|lesion|case|study|series|scan|slide|specimen|donor|animal|identity|individual"
    r"|eye|group)s?([ _-]?(id|ids|no|nr|num|number|name|code|key|uid))?|pid|uid",
    re.IGNORECASE,
)
MISSING: Final = ("", "nan", "none", "null", "None", "NaN", "NA")
FEWEST: Final = 4  # different values of groups: fewer are sides, sexes or devices
LEAST: Final = 20  # images below which a pattern of repetition says nothing
REPEATED: Final = (0.05, 0.9)  # different values per image of what may be groups by their pattern
IMPURE: Final = 0.1  # of the share of pairs in different classes that chance would give


def check_unused(
    columns: Mapping[str, Any],
    labels: NDArray[Any],
    *,
    where: str,
    what: str,
    has_groups: bool,
    ignored: Collection[str],
    setting: str,
) -> tuple[str, ...]:
    """A note that lists unused columns; UserError if there are no groups and one of them looks like groups.

    columns: name → values (N,), or None where they cannot be groups. what: column or array. ignored: names that the
    user declared unused; UserError for one that is not there. setting: how a name is declared to be the groups.
    """
    for name in ignored:
        if name not in columns:
            raise unknown(f"{what} in source.ignore", name, columns)
    others = [name for name in columns if name not in ignored]
    if not has_groups:
        for name in others:
            if columns[name] is not None and _like_groups(name, columns[name], labels):
                raise UserError(
                    f"{where} has the {what} {name!r}, which looks like groups, such as patients, and is not used: images of one "
                    f"group could be on both sides of a split; set {setting.format(name)}, or "
                    f"source.ignore=[{name}] if it is something else"
                )
    return (f"not used of {where}: {choices(others)}",) if others else ()


def _like_groups(name: str, values: NDArray[Any], labels: NDArray[Any]) -> bool:
    """By its name, if values repeat at all; or if values repeat as those of groups do: few images each, of one class."""
    import pandas as pd  # imported late: the options do not need it

    text = np.asarray(values).astype(str).astype(object)
    codes, distinct = pd.factorize(pd.Series(text, dtype=object).replace(dict.fromkeys(MISSING)))
    classes = pd.factorize(np.asarray(labels))[0].astype(np.int64)
    known = codes >= 0
    n = int(known.sum())
    if not FEWEST <= len(distinct) < n or _is_another_label(codes[known], classes[known]):
        return False
    if GROUP_NAMES.fullmatch(name.strip()):
        return True
    if n < LEAST or not REPEATED[0] <= len(distinct) / n <= REPEATED[1]:
        return False
    chance = _apart(np.zeros(n, np.int64), classes[known])
    return chance > 0 and _apart(codes[known].astype(np.int64), classes[known]) < IMPURE * chance


def _is_another_label(codes: NDArray[np.int64], classes: NDArray[np.int64]) -> bool:
    """Whether each class has a single value, as its name in another language or its parent class."""
    pairs = {(int(c), int(v)) for c, v in zip(classes, codes, strict=True)}
    return len(pairs) == len({c for c, _ in pairs})


def _apart(codes: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """Share of pairs of images with one value that are of different classes; 0 without a pair."""
    pairs = _pairs(codes)
    both = codes * (classes.max(initial=0) + 1) + classes
    return 1 - _pairs(both) / pairs if pairs else 0.0


def _pairs(codes: NDArray[np.int64]) -> float:
    counts = np.unique(codes, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1)).sum())
