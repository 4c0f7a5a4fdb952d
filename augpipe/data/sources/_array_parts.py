"""Parts of arrays: the images of one split with their columns, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.data.sources._array_names import SPLIT, Names
from augpipe.data.sources._npy import Images
from augpipe.data.sources._unused import check_unused


@dataclass(frozen=True)
class Part:
    """One array of images with labels, groups and weights; `name` is its split, "" if it has none.

    others: the arrays of one value per image that are not used, by their name without the split. attributes: those of
    source.attributes.
    """

    name: str
    images: Images
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def unused_note(
    parts: Sequence[Part], labels: NDArray[Any], path: Path, ignored: Sequence[str], split: bool
) -> tuple[str, ...]:
    """The note of unused arrays; UserError if one looks like groups. Of an array of some splits only, these count.

    split: whether the array `split` is used.
    """
    columns: dict[str, NDArray[Any] | None] = {}
    used = {SPLIT} if split else set()
    for name in dict.fromkeys(name for part in parts for name in part.others):
        if name in used:
            continue
        # Where a split lacks the array its images have no group; groups of the others count all the same.
        values = [part.others.get(name, np.full(part.images.n, "", object)) for part in parts]
        whole = all(len(v) == part.images.n for v, part in zip(values, parts, strict=True))
        # An array beside those of the splits may hold the values of all images.
        once = values[0] if len(values[0]) == len(labels) else None
        columns[name] = np.concatenate(values) if whole else once
    groups = [part.groups for part in parts if part.groups is not None]
    return check_unused(
        columns,
        labels,
        where=f"the file {path}",
        what="array",
        ignored=ignored,
        groups=np.concatenate(groups) if len(groups) == len(parts) else None,
        key="source.groups",
    )


def check_lengths(part: Part, where: str, names: Names) -> None:
    """UserError if a column has another length than the images; where: of or in which file, for the message."""
    columns = {what: getattr(part, what) for what in ("labels", "groups", "weights")}
    for what, column in {**columns, **part.attributes}.items():
        if column is not None and len(column) != part.images.n:
            raise UserError(
                f"{part.images.n} {names.of(part.name, 'images')} {where} but "
                f"{len(column)} {names.of(part.name, what)}: each image needs one"
            )
