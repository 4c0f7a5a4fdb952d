"""Rows of a table with one path: equal ones are one image, others say different things of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import choices, several

PICTURE: Final = ["root", "path"]
CONFLICT: Final = "duplicate path with another label: write one row for each picture"


class Repeated(NamedTuple):
    """Row → why it cannot be used; rows that are equal to an earlier one; notes."""

    reasons: Mapping[int, str]
    equal: NDArray[np.int64]
    notes: tuple[str, ...]


def repeated_paths(rows: pd.DataFrame, more: Sequence[str]) -> Repeated:
    """Rows whose path an earlier one has.

    Rows that agree in everything, as those of several boxes in one picture, are one image. rows: columns `root`,
    `path`, `label` and `more`, others that are used.
    """
    later = rows.duplicated(PICTURE).to_numpy()
    if not later.any():
        return Repeated({}, np.empty(0, np.int64), ())
    in_conflict = rows.groupby(PICTURE)["label"].transform("nunique").to_numpy() > 1
    equal = rows.duplicated().to_numpy() & ~in_conflict
    different = later & ~in_conflict & ~equal
    index = rows.index.to_numpy()
    reasons = dict.fromkeys(index[in_conflict].tolist(), CONFLICT)
    reasons |= dict.fromkeys(index[different].tolist(), f"duplicate path with another {choices(more) or 'label'}")
    notes = _conflicts(rows[in_conflict], rows[~later].shape[0])
    if n := int(equal.sum()):
        notes += (
            f"{several(n, 'row')} repeated: the path and all that is used of the row are those of an earlier one",
        )
    return Repeated(reasons, index[equal], notes)


def _conflicts(rows: pd.DataFrame, total: int) -> tuple[str, ...]:
    """A note of pictures whose rows have different labels, as of two annotators who disagree.

    total: number of all pictures.
    """
    if rows.empty:
        return ()
    by_picture = rows.groupby(PICTURE, sort=False)["label"]
    labels = next(iter(by_picture))[1]
    return (
        f"{several(by_picture.ngroups, 'picture')} of {total:,} not used, as rows have different labels: "
        f"{rows['path'].iloc[0]} has {choices(dict.fromkeys(labels))}; write one row for each, with "
        "the label of the majority or of one annotator",
    )
