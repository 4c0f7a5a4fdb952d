"""Labels of a table in one-hot columns: some cells may be -1 (uncertain), and some rows may have no 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._table_options import TableOptions
from augpipe.data.sources._text import SHOWN

# Also as people tick boxes in forms and spreadsheets.
ONES: Final = ("1", "1.0", "true", "t", "yes", "y", "x", "✓", "✔", "☑", "☒")
ZEROS: Final = ("0", "0.0", "false", "f", "no", "n", "-", "☐", "")
UNCERTAIN: Final = ("-1", "-1.0")  # as in CheXpert and MIMIC-CXR; CelebA's 0
UNSURE: Final = "with an uncertain label (-1)"
UNMARKED: Final = "without a 1 in the one-hot columns"

FEWEST: Final = 3  # columns; two of 0 and 1 beside others may be anything
MOSTLY: Final = 0.9  # of the rows have one 1


class OneHot(NamedTuple):
    """Label of each row (N,), `A|B` for several and "" for none; and why a row is left out, "" if it is not (N,)."""

    labels: NDArray[np.object_]
    left_out: NDArray[np.object_]


def one_hot(names: Sequence[str], values: Mapping[str, NDArray[np.object_]], config: TableOptions) -> OneHot:
    """Labels of the columns `names`; UserError for several, none, -1 and other values that the config does not decide.

    Rows whose cells are all empty have no label, if others have zeros, unless rows without a 1 are to be left out.
    """
    text = [pd.Series(values[name]).str.strip().str.lower() for name in names]
    marked, unmarked, unsure = (
        np.stack([column.isin(options).to_numpy() for column in text]) for options in (ONES, ZEROS, UNCERTAIN)
    )
    if config.uncertain == 1:
        marked |= unsure
    elif config.uncertain is not None:
        unmarked |= unsure
    uncertain = np.asarray(unsure.any(0), bool)
    left_out = np.full(len(uncertain), "", object)
    if config.uncertain == "drop":
        left_out[uncertain] = UNSURE
    ones = np.where(left_out != "", 0, marked.sum(0))
    wrong = ~(marked | unmarked).all(0)
    refused = wrong if config.combined else wrong | (ones > 1)
    for row in np.flatnonzero(refused)[:1]:
        shown = {name: str(values[name][row])[:SHOWN] for name in names}
        advice = _advice(bool(wrong[row]), bool(uncertain[row]))
        raise UserError(
            f"row {row + 1} of the manifest {config.path} has the labels {shown}: one of these columns must be 1 and "
            f"the others 0 (x and empty, yes and no are read as these). {advice}"
        )
    labels = np.where(ones == 1, np.array(names, object)[marked.argmax(0)], "")
    blank = np.stack([np.asarray(column == "", bool) for column in text])
    # Where only ticks are written, a row without any is no row without a label, but one without a 1.
    is_empty = blank.all(0) & (unmarked & ~blank).any() & (config.unmarked != "drop")
    _decide_unmarked(labels, left_out, (ones == 0) & ~is_empty, config)
    for row in np.flatnonzero(ones > 1):
        labels[row] = "|".join(name for name, is_one in zip(names, marked[:, row], strict=True) if is_one)
    return OneHot(labels, left_out)


def _decide_unmarked(
    labels: NDArray[np.object_], left_out: NDArray[np.object_], unmarked: NDArray[np.bool_], config: TableOptions
) -> None:
    """Give rows (N,) without a 1 a class or leave them out, as the config says; UserError if it does not."""
    rows = unmarked & (left_out == "")
    if not rows.any():
        return
    if config.unmarked is None:
        first = int(np.flatnonzero(rows)[0]) + 1
        raise UserError(
            f"{several(int(rows.sum()), 'row')} of {len(rows):,} of the manifest {config.path} without a 1 in the "
            f"columns {choices(config.columns.label)}, the first is row {first}: set source.unmarked=drop to leave "
            "them out, or source.unmarked=NAME to read them as the class of that name, such as none"
        )
    if config.unmarked == "drop":
        left_out[rows] = UNMARKED
    else:
        labels[rows] = config.unmarked


def one_hot_columns(columns: Mapping[str, NDArray[np.object_]]) -> list[str]:
    """Columns of 0 and 1, if nearly every row has one 1 in them, of two columns that are all every row; else none.

    A constant column counts only if it is a class without rows: 0 as the others write it, and no `F` for female.
    """
    known = {*ONES, *ZEROS, *UNCERTAIN}
    text = {name: [str(v).strip().lower() for v in values] for name, values in columns.items()}
    marks = {name: set(values) for name, values in text.items() if known.issuperset(values)}
    used = set[str]().union(*(values for values in marks.values() if len(values) > 1))
    fit = [
        name
        for name, values in marks.items()
        if values - {"", "-"} and (len(values) > 1 or values <= used.difference(ONES))
    ]
    if len(fit) < FEWEST and not len(fit) == len(text) == 2:
        return []
    ones = np.sum([np.isin(text[name], ONES) for name in fit], axis=0)
    return fit if np.mean(ones == 1) >= (MOSTLY if len(fit) >= FEWEST else 1) else []


def _advice(is_wrong: bool, is_unsure: bool) -> str:
    if is_wrong and not is_unsure:
        return "Correct the row, or set source.columns.label to one column"
    if is_wrong:
        return (
            "-1 is not decided: set source.uncertain=drop to leave such rows out, source.uncertain=0 to read -1 as "
            "0, or source.uncertain=1 to read it as 1"
        )
    return (
        "Several labels per image are not supported: set source.combined=drop to leave such rows out, or "
        "source.columns.label to one column"
    )
