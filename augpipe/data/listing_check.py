"""Check a listing's classes and groups before pictures are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.options import SplitOptions
from augpipe.data.sources._listing import Bad, Listing, alike, classes_option, only
from augpipe.data.split_check import NAMES, Rows


def check_names(classes: Sequence[str]) -> None:
    """UserError for classes whose names differ only in case, white space or Unicode normalisation."""
    for names in alike(classes):
        raise UserError(
            f"the classes {' and '.join(repr(name) for name in names)} differ only in case, spaces or spelling; "
            "rename one or merge them"
        )


def drop_small_classes(listing: Listing, least: int) -> Listing:
    """Drop classes of fewer than `least` images, with a note."""
    have = np.bincount(listing.labels, minlength=len(listing.classes))
    large = np.flatnonzero(have >= least)
    if least <= 1 or len(large) == len(have):
        return listing
    new_label = np.full(len(have), -1, np.int64)
    new_label[large] = np.arange(len(large))
    remaining = only(listing, new_label[listing.labels] >= 0)
    note = (
        f"{several(len(have) - len(large), 'class')} with fewer than {least} images left out "
        f"({several(len(listing) - len(remaining), 'image')})"
    )
    return replace(
        remaining,
        labels=new_label[remaining.labels],
        classes=tuple(listing.classes[c] for c in large),
        notes=(*listing.notes, note),
    )


def require_large_classes(listing: Listing, least: int) -> None:
    """UserError if min_images leaves fewer classes than a comparison needs."""
    counts = sorted(listing.counts().items(), key=lambda item: -item[1])
    if len(counts) > 1 and counts[1][1] < least:
        largest = ", ".join(f"{name} {n:,}" for name, n in counts[:3])
        raise UserError(
            f"min_images {least:,} leaves fewer than 2 of {several(len(counts), 'class')}; the largest have: {largest}"
        )


def check_filled(labels: Rows, classes: Sequence[str], bad: Sequence[Bad], least: int = 1) -> None:
    """UserError for a class with fewer than `least` images, or none; bad: files that cannot be used."""
    have = np.bincount(labels, minlength=len(classes))
    others = [name for name, n in zip(classes, have, strict=True) if n >= max(1, least)]
    option = f" ({classes_option(others)})" if len(others) > 1 else ""
    for name, n in zip(classes, have, strict=True):
        if 0 < n < least:
            raise UserError(
                f"class {name!r} has {several(int(n), 'picture')} that can be used, fewer than min_images {least}: "
                f"exclude it with source.classes{option}, or fix its files"
            )
        if n == 0:
            unusable = [one for one in bad if one.label == name]
            detail = f": {len(unusable)} could not be used, the first: {unusable[0].reason}" if unusable else ""
            raise UserError(
                f"class {name!r} has no usable picture{detail}; add some, or exclude it with source.classes{option}"
            )


def check_official(listing: Listing, options: SplitOptions) -> None:
    """UserError if the source's own split, where it is used, divides groups without a reason;
    before pictures are read.
    """
    if listing.splits is None or options.kind not in ("auto", "official"):
        return
    rows = {name: np.flatnonzero(listing.splits == name) for name in NAMES}
    torn_groups(listing.groups, rows, options)


def torn_groups(groups: NDArray[np.object_] | None, rows: dict[str, Rows], options: SplitOptions) -> int:
    """Number of groups divided between train, val and test; UserError if there are any without a reason."""
    n = divided_groups(groups, rows)
    if n and not options.allow_torn_groups.strip():
        raise UserError(
            f"{several(n, 'group')} divided between train, val and test, which makes scores too high: set split.kind: "
            "grouped to keep each in one, or give a reason in split.allow_torn_groups"
        )
    return n


def divided_groups(groups: NDArray[np.object_] | None, rows: dict[str, Rows]) -> int:
    """Number of groups with images in more than one of train, val and test."""
    if groups is None:
        return 0
    sides = [set(groups[side_rows].tolist()) for side_rows in rows.values()]
    divided = set()
    for index, first in enumerate(sides):
        for second in sides[index + 1 :]:
            divided |= first & second
    return len(divided)
