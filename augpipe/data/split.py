"""Split into train, val and test: official, stratified, grouped or k-fold; drawn once per experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.data.options import SplitOptions
from augpipe.data.split_check import (
    Groups,
    Rows,
    by_group,
    check_folds,
    check_groups,
    check_images,
    fractions_of,
    kind_of,
    official_rows,
)

TRIES: Final = 20  # attempts at a grouped split, of which the one closest to the fractions is used
SMALL: Final = 200  # up to this many groups, up to MANY_TRIES attempts until a split is valid
MANY_TRIES: Final = 400
MANY: Final = 5000  # above this many groups, attempts hardly differ: 2 are enough


def split(
    labels: Rows,
    classes: Sequence[str],
    options: SplitOptions,
    rng: np.random.Generator,
    *,
    groups: Groups | None = None,
    official: Groups | None = None,
) -> tuple[str, dict[str, Rows]]:
    """Return the kind used, and disjoint, sorted rows of train, val and test that cover all rows.

    groups: text (N,), None if every image is its own group. official: "train", "val" or "test" (N,), None if the
    source has no split. UserError if the kind needs groups or a split that the source lacks, or a class is too small.
    """
    kind = kind_of(options, groups, official)
    if kind == "official" and official is not None:
        return kind, _official(labels, classes, options, rng, groups, official)
    if kind == "grouped" and groups is not None:
        return kind, grouped(labels, classes, groups, fractions_of(options), rng)
    if kind == "k_fold":
        return kind, k_fold(labels, classes, options, rng, groups)
    return kind, stratified(labels, classes, fractions_of(options), rng)


def stratified(
    labels: Rows, classes: Sequence[str], fractions: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Rows]:
    """Split each class: round(fraction · n) images to every part but the first, which gets the rest; at least one each.

    fractions: part → fraction. UserError if a class has fewer images than there are parts.
    """
    first, *others = fractions
    check_images(labels, classes, tuple(fractions))
    rows: dict[str, list[Rows]] = {name: [] for name in fractions}
    for label in range(len(classes)):
        class_rows = rng.permutation(np.flatnonzero(labels == label))
        sizes = [max(1, round(fractions[side] * len(class_rows))) for side in others]
        # At least one image each can use up a tiny class: shrink the largest part, the last one if equal.
        while sum(sizes) >= len(class_rows):
            largest = max(range(len(sizes)), key=lambda index: (sizes[index], index))
            sizes[largest] -= 1
        ends = np.cumsum(sizes)
        for side, part_rows in zip([*others, first], np.split(class_rows, ends), strict=True):
            rows[side].append(part_rows)
    return {name: np.sort(np.concatenate(parts)).astype(np.int64) for name, parts in rows.items()}


def grouped(
    labels: Rows, classes: Sequence[str], groups: Groups, fractions: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Rows]:
    """Assign whole groups to the parts of `fractions`, with each class as close to its fractions as possible.

    Iterative stratification (Sechidis et al. 2011) over groups: the class with the fewest unassigned groups goes
    first, and its largest group to the part that needs most images of that class; every part gets every class. Uses
    the best of TRIES attempts. UserError if a class has fewer groups than there are parts, or no attempt succeeds.
    """
    member, table = by_group(labels, classes, groups)
    check_groups(table, classes, tuple(fractions))
    wanted = np.array(list(fractions.values()))[:, None] * table.sum(0)
    best: tuple[float, NDArray[np.int64]] | None = None
    n_attempts = TRIES if len(table) <= MANY else 2
    for attempt in range(MANY_TRIES if len(table) <= SMALL else n_attempts):
        if attempt >= n_attempts and best is not None:
            break
        sides = _assign(table, wanted, rng)
        assigned = np.stack([table[sides == side].sum(0) for side in range(len(fractions))])
        if (assigned == 0).any():
            continue
        deviation = float((np.abs(assigned - wanted) / table.sum(0)).sum())
        if best is None or deviation < best[0]:
            best = (deviation, sides)
    if best is None:
        raise UserError(
            f"no grouped split has every class in each of {', '.join(fractions)}, because groups contain several "
            "classes: try another split.seed, or, if groups do not matter, set split.kind: stratified and say why in "
            "split.allow_torn_groups"
        )
    return {name: np.flatnonzero(best[1][member] == side).astype(np.int64) for side, name in enumerate(fractions)}


def _assign(table: NDArray[np.int64], wanted: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts (groups, classes) and wanted counts (parts, classes) → part index of each group."""
    n_sides = len(wanted)
    sides = np.full(len(table), -1, np.int64)
    missing = wanted.astype(np.float64).copy()
    has_class = np.zeros(wanted.shape, bool)
    n_unassigned = (table > 0).sum(0)
    tie = rng.random((len(table), n_sides))
    # Groups of each class, largest first; `position` skips groups already assigned through another class.
    order = [np.lexsort((tie[:, 0], -table[:, c])) for c in range(table.shape[1])]
    position = [0] * table.shape[1]
    for _ in range(len(table)):
        label = int(np.argmin(np.where(n_unassigned > 0, n_unassigned, np.iinfo(np.int64).max)))
        while sides[order[label][position[label]]] >= 0:
            position[label] += 1
        group = order[label][position[label]]
        lacking = np.flatnonzero(~has_class[:, label])
        # No more groups left than parts without this class: each of these parts needs one of them.
        candidates = lacking if len(lacking) >= n_unassigned[label] else np.arange(n_sides)
        best = np.lexsort((tie[group, candidates], -missing[candidates].sum(1), -missing[candidates, label]))[0]
        side = candidates[best]
        sides[group] = side
        missing[side] -= table[group]
        has_class[side] |= table[group] > 0
        n_unassigned -= table[group] > 0
    return sides


def k_fold(
    labels: Rows, classes: Sequence[str], options: SplitOptions, rng: np.random.Generator, groups: Groups | None = None
) -> dict[str, Rows]:
    """Test is fold `fold` of `folds`, val the next one, train the rest; equal `rng` states give equal folds.

    Divides whole groups if there are any. UserError if a class has fewer images, or groups, than folds.
    """
    units = np.arange(len(labels)).astype(object) if groups is None else groups
    parts = [str(fold) for fold in range(options.folds)]
    if groups is None:
        folds = _even_folds(labels, classes, len(parts), rng)
    else:
        rows_of_fold = grouped(labels, classes, units, dict.fromkeys(parts, 1 / len(parts)), rng)
        folds = np.empty(len(labels), np.int64)
        for name, rows in rows_of_fold.items():
            folds[rows] = int(name)
    val = (options.fold + 1) % options.folds
    return {
        "train": np.flatnonzero((folds != options.fold) & (folds != val)).astype(np.int64),
        "val": np.flatnonzero(folds == val).astype(np.int64),
        "test": np.flatnonzero(folds == options.fold).astype(np.int64),
    }


def _even_folds(labels: Rows, classes: Sequence[str], n: int, rng: np.random.Generator) -> Rows:
    """Fold of each image: images are dealt out in turn, class by class, so that fold sizes differ by at most one."""
    check_folds(labels, classes, n)
    folds = np.empty(len(labels), np.int64)
    dealt = 0
    for label in range(len(classes)):
        class_rows = rng.permutation(np.flatnonzero(labels == label))
        folds[class_rows] = (dealt + np.arange(len(class_rows))) % n
        dealt += len(class_rows)
    return folds


def _official(
    labels: Rows,
    classes: Sequence[str],
    options: SplitOptions,
    rng: np.random.Generator,
    groups: Groups | None,
    official: Groups,
) -> dict[str, Rows]:
    """The source's official split; missing val or test is drawn from its train."""
    have, fractions = official_rows(labels, classes, options, official)
    if fractions:
        train = have["train"]
        train_labels = labels[train]
        drawn = (
            stratified(train_labels, classes, fractions, rng)
            if groups is None
            else grouped(train_labels, classes, groups[train], fractions, rng)
        )
        have |= {name: train[rows] for name, rows in drawn.items()}
    return have
