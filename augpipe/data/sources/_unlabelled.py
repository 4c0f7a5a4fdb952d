"""Images of val or test that nobody labelled, as in the test sets of competitions: left out, so that val and test are
drawn from images with labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import choices, several
from augpipe.data.sources._listing import Listing, only

# Labels and names of folders that say nothing, in lower case.
NO_LABEL: Final = frozenset(
    {"", "-1", "-1.0", "?", "-", "nan", "none", "null", "na", "n/a", "<na>", "unknown", "unlabeled", "unlabelled"}
    | {"test", "testing", "val", "valid", "validation", "images", "image", "imgs", "img", "pictures", "all", "dummy"}
)


def unlabelled_splits(names: NDArray[Any], splits: NDArray[np.object_] | None) -> NDArray[np.bool_]:
    """Images of a val or test in which no image has a label; bool (N,).

    names: labels as text or numbers (N,); splits: train, val or test (N,), None without. Only labels that train does
    not have beside at least two others: a class -1 beside 1 is one of some sets.
    """
    aside = np.zeros(len(names), bool)
    if splits is None:
        return aside
    text = np.array([str(name).strip() for name in names.tolist()], object)
    train = set(text[splits == "train"])
    for split in ("val", "test"):
        rows = np.asarray(splits == split, bool)
        have = set(text[rows])
        if have and all(name.lower() in NO_LABEL for name in have) and not have & train and len(train) > 1:
            aside |= rows
    return aside


def unlabelled_notes(names: NDArray[Any], splits: NDArray[np.object_] | None, aside: NDArray[np.bool_]) -> list[str]:
    """A note of each split of the images that are left `aside`, see `unlabelled_splits`."""
    notes = []
    for split in ("val", "test") if splits is not None and aside.any() else ():
        rows = aside & (splits == split)
        if n := int(rows.sum()):
            notes.append(unlabelled_note(split, n, choices(sorted({str(name) for name in names[rows].tolist()}))))
    return notes


def without_unlabelled(listing: Listing, classes: Sequence[str] | None) -> Listing:
    """A listing without val or test if none of its images has a label, with a note.

    classes: those that the user chose, which are used whatever their names.
    """
    if listing.splits is None:
        return listing
    have = set(listing.splits.tolist())
    notes, bad = [], listing.bad
    for split in ("val", "test"):
        if split not in have and (n := sum(one.split == split for one in bad)):
            bad = tuple(one for one in bad if one.split != split)
            notes.append(unlabelled_note(split, n))
    names = np.array(listing.classes, object)[listing.labels]
    aside = unlabelled_splits(names, listing.splits) if classes is None else np.zeros(len(names), bool)
    if not aside.any():
        return listing if not notes else replace(listing, bad=bad, notes=(*listing.notes, *notes))
    notes += unlabelled_notes(names, listing.splits, aside)
    gone = set(names[aside]) - set(names[~aside])
    used = tuple(name for name in listing.classes if name not in gone)
    index = {name: label for label, name in enumerate(used)}
    rest = only(listing, ~aside)
    labels = np.array([index[name] for name in names[~aside]], np.int64)
    # Notes that name such a class say that it is read as one.
    others = [note for note in listing.notes if not any(repr(name) in note for name in gone)]
    return replace(rest, labels=labels, classes=used, bad=bad, notes=(*others, *notes))


def unlabelled_note(split: str, n: int, label: str = "") -> str:
    """The note of a val or test of n images without a label, whose `label` says none."""
    shown = f" ({label})" if label else ""
    return (
        f"{several(n, 'image')} of {split} without a label{shown}, and so all of it, left out: {split} is drawn from "
        "the images with labels"
    )
