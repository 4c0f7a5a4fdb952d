"""Whether a source can be split at all, and the most images that train can get; nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.core.schema import changed
from augpipe.data.options import SplitOptions

NAMES = ("train", "val", "test")
Rows = NDArray[np.int64]
Groups = NDArray[np.object_]


def kind_of(options: SplitOptions, groups: Groups | None, official: Groups | None) -> str:
    """The kind of split that is drawn; UserError if the options need groups or a split that the source lacks."""
    if groups is None and options.allow_torn_groups.strip():
        raise UserError(
            "split.allow_torn_groups has no effect, because the source has no groups: name them, or remove it"
        )
    if options.kind == "auto":
        return "official" if official is not None else "stratified" if groups is None else "grouped"
    if options.kind == "official" and official is None:
        raise UserError("split.kind is official, but the source has no split")
    if options.kind == "grouped" and groups is None:
        raise UserError("split.kind is grouped, but the source has no groups")
    return options.kind


def most_train(
    labels: Rows,
    classes: Sequence[str],
    options: SplitOptions,
    *,
    groups: Groups | None = None,
    official: Groups | None = None,
) -> dict[int, int]:
    """The most images of each class that any split leaves in train; UserError if no split is possible.

    Draws nothing. Takes what `split` takes. Images that cannot be used, and are therefore missing in `split`, make
    possible splits impossible, never the reverse.
    """
    kind = kind_of(options, groups, official)
    have = np.bincount(labels, minlength=len(classes))
    if kind == "official" and official is not None:
        rows, fractions = official_rows(labels, classes, options, official)
        train = rows["train"]
        have = np.bincount(labels[train], minlength=len(classes))
        if not fractions:
            return _counts(have)
        groups = None if groups is None else groups[train]
        labels = labels[train]
    elif kind == "k_fold":
        fractions = dict.fromkeys(map(str, range(options.folds)), 1 / options.folds)
        if groups is None:
            check_folds(labels, classes, options.folds)
            return _counts(have * (1 - 2 / options.folds) + 2, have - 2)
    else:
        fractions = fractions_of(options)
        groups = groups if kind == "grouped" else None
    if groups is not None:
        check_groups(by_group(labels, classes, groups)[1], classes, tuple(fractions))
        return _counts(have - 2 if kind != "official" else have - len(fractions) + 1)
    check_images(labels, classes, tuple(fractions))
    # Rounding, which depends on the number of usable images, adds at most one image a part.
    return _counts(have * fractions["train"] + 2, have - len(fractions) + 1)


def _counts(*bounds: NDArray[Any]) -> dict[int, int]:
    """The smallest of several bounds of each class, as a whole number."""
    return {label: int(n) for label, n in enumerate(np.min(bounds, axis=0))}


def official_rows(
    labels: Rows, classes: Sequence[str], options: SplitOptions, official: Groups
) -> tuple[dict[str, Rows], dict[str, float]]:
    """Rows of the official split, and the fractions of its train that missing parts get; none missing: empty."""
    have = {name: np.flatnonzero(official == name).astype(np.int64) for name in NAMES}
    missing = [name for name in ("val", "test") if not len(have[name])]
    if not len(have["train"]):
        raise UserError("the official split of the source has no train; set split.kind: stratified or grouped")
    _check_classes(labels, classes, {name: have[name] for name in NAMES if name not in missing})
    idle = [name for name in ("val", "test") if name not in missing] + ["seed"] * (not missing)
    for name in set(changed(options)).intersection(idle):
        what = f"{name} of its own" if name != "seed" else "val and test of its own"
        raise UserError(
            f"split.{name}={getattr(options, name)} has no effect, because the source has a {what}: remove it, or set "
            "split.kind: stratified or grouped"
        )
    fractions = {name: getattr(options, name) for name in missing}
    return have, {"train": 1 - sum(fractions.values()), **fractions} if missing else {}


def _check_classes(labels: Rows, classes: Sequence[str], rows: Mapping[str, Rows]) -> None:
    """UserError if a part of the split lacks a class."""
    for name, part_rows in rows.items():
        absent = [c for label, c in enumerate(classes) if not (labels[part_rows] == label).any()]
        if absent:
            raise UserError(
                f"the official {name} of the source has no image of class {absent[0]!r}"
                + (f" and {len(absent) - 1} more" if len(absent) > 1 else "")
                + "; set split.kind: stratified or grouped, or exclude the class"
            )


def check_images(labels: Rows, classes: Sequence[str], parts: Sequence[str]) -> None:
    """UserError for a class with fewer images than parts."""
    least = len(parts)
    for name, n in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True):
        if n < least:
            raise UserError(
                f"class {name!r} has {several(int(n), 'image')}; {', '.join(parts[:-1])} and {parts[-1]} "
                f"need at least {least}: add images or exclude the class (min_images: {least})"
            )


def by_group(labels: Rows, classes: Sequence[str], groups: Groups) -> tuple[Rows, NDArray[np.int64]]:
    """Group index of each image, int64 (N,), and images of each group and class, int64 (groups, classes)."""
    import pandas as pd  # imported late: most checks do not need it

    member, names = pd.factorize(groups, sort=True)
    table = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(table, (member, labels), 1)
    return member, table


def check_groups(table: NDArray[np.int64], classes: Sequence[str], parts: Sequence[str]) -> None:
    """UserError for a class with fewer groups than parts; table: images of each group and class."""
    for name, n in zip(classes, (table > 0).sum(0), strict=True):
        if n < len(parts):
            raise UserError(
                f"class {name!r} has {n} group{'' if n == 1 else 's'}; {', '.join(parts)} need at least {len(parts)}, "
                "because groups are not divided: add groups, exclude the class, or, if groups do not matter, set "
                "split.kind: stratified and say why in split.allow_torn_groups"
            )


def check_folds(labels: Rows, classes: Sequence[str], n: int) -> None:
    """UserError for a class with fewer images than folds."""
    for name, images in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True):
        if images < n:
            raise UserError(f"class {name!r} has {images} images; {n} folds need at least {n}")


def fractions_of(options: SplitOptions) -> dict[str, float]:
    """Part → fraction of each class."""
    return {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
