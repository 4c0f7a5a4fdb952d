"""Summarise groups of duplicate images: how many there are, across which parts of the split, in which classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.data.split_check import NAMES

EXAMPLES: Final = 12  # groups of duplicates shown
IN_GROUP: Final = 6  # images shown per group of duplicates
Sides = NDArray[np.object_]


@dataclass(frozen=True)
class DuplicateGroups:
    """Groups of duplicate images.

    extra: images beyond the first of each group. across_splits: `val in train` → number of val images that are also in
    train, and so on. mixed_classes: number of groups with several classes. examples: rows of some groups, those across
    splits first.
    """

    groups: int
    extra: int
    across_splits: Mapping[str, int]
    mixed_classes: int
    examples: tuple[tuple[int, ...], ...]


def rows_of(sides: Sides | None) -> dict[str, NDArray[np.int64]]:
    """Rows of train, val and test."""
    if sides is None:
        return {}
    return {name: np.flatnonzero(sides == name).astype(np.int64) for name in NAMES}


def duplicate_groups(
    groups: NDArray[np.int64], labels: NDArray[np.int64], sides: Sides | None, beyond: NDArray[np.int64] | None
) -> DuplicateGroups:
    """Summarise groups of several images; with `beyond`, exclude duplicates already joined by these finer groups."""
    sizes = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
    is_multiple = sizes > 1
    extra = int((sizes[is_multiple] - 1).sum())
    if beyond is not None and len(groups):
        # Nearly equal: the group has images of several groups of equal ones.
        kinds = np.unique(np.stack([groups, beyond], 1), axis=0)
        is_multiple = np.bincount(kinds[:, 0], minlength=len(sizes)) > 1
        extra = int((np.bincount(kinds[:, 0], minlength=len(sizes))[is_multiple] - 1).sum())
    rows_in_groups = np.flatnonzero(is_multiple[groups]) if len(groups) else np.empty(0, np.int64)
    crossing = _crossing(groups, sides)
    if beyond is not None:
        equal = _crossing(beyond, sides)
        crossing = {what: n - equal[what] for what, n in crossing.items()}
    members: dict[int, list[int]] = {}
    for row in rows_in_groups:
        members.setdefault(int(groups[row]), []).append(int(row))
    mixed = [rows for rows in members.values() if len({int(labels[r]) for r in rows}) > 1]

    def sort_key(rows: list[int]) -> tuple[bool, bool, int]:
        within_one_side = sides is None or len({str(sides[r]) for r in rows}) < 2
        return within_one_side, len({int(labels[r]) for r in rows}) < 2, rows[0]

    shown = sorted(members.values(), key=sort_key)[:EXAMPLES]
    return DuplicateGroups(
        int(is_multiple.sum()), extra, crossing, len(mixed), tuple(tuple(r[:IN_GROUP]) for r in shown)
    )


def _crossing(groups: NDArray[np.int64], sides: Sides | None) -> dict[str, int]:
    """`val in train` → number of val images whose group has an image in train, and so on."""
    rows = rows_of(sides)
    counts = {}
    for late, early in (("val", "train"), ("test", "train"), ("test", "val")):
        if sides is not None and len(rows[late]) and len(rows[early]):
            counts[f"{late} in {early}"] = int(np.isin(groups[rows[late]], groups[rows[early]]).sum())
    return counts
