"""Check before each training that its images do not include held-out ones.

The split is disjoint; this checks again what a training actually receives. Two images that became equal by resizing are
not a leak; a held-out image under another id is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from augpipe.core.images import REAL, ImageSet


class LeakError(RuntimeError):
    """Training data includes or derives from held-out images; the run stops, because its scores would be too high."""


def check_disjoint(sides: Mapping[str, NDArray[np.int64]], ids: Sequence[str]) -> None:
    """Raise LeakError if an image of train is also one of val or test, or one of val also one of test."""
    names = list(sides)
    for at, name in enumerate(names):
        for later in names[at + 1 :]:
            both = np.intersect1d(sides[name], sides[later])
            if len(both):
                raise LeakError(f"{name} contains {ids[int(both[0])]!r}, an image of {later}")


def check(
    learned: ImageSet, data: ImageSet, held_out: Mapping[str, ImageSet], what: str, *, torn_groups: bool = False
) -> None:
    """Raise LeakError if `learned` contains a held-out image, one of its group, or a synthetic image made from one.

    learned: real and synthetic images that train `what`. data: all images of the run. Every real image must equal one
    of these by id and digest of its pixels, so that no image is used under the id of another. A synthetic image must
    not equal a held-out one, unless a train image does, or it is uniform. held_out: val and test images by name.
    torn_groups: whether groups may be divided.
    """
    ids = learned.table["id"].to_numpy(dtype=str)
    parents = learned.table["parent"].to_numpy(dtype=str)
    real = (learned.table["origin"] == REAL).to_numpy()
    for side, images in held_out.items():
        held_out_ids = images.table["id"].to_numpy(dtype=str)
        for leaking, relation in (
            (np.isin(ids, held_out_ids) & real, "contains"),
            (np.isin(parents, held_out_ids), "contains images derived from"),
        ):
            if leaking.any():
                name = str((ids if relation == "contains" else parents)[leaking][0])
                raise LeakError(f"the training data of {what} {relation} {name!r}, an image of {side}")
    _check_real(learned, np.flatnonzero(real), data, what)
    copies = _synthetic_copies(learned, np.flatnonzero(~real), data, held_out)
    for side, images in held_out.items():
        if not torn_groups:
            _check_groups(learned, side, images, what)
        _check_synthetic(learned, copies, side, images, what)


def _check_groups(learned: ImageSet, side: str, images: ImageSet, what: str) -> None:
    """Raise LeakError if an image of `learned` belongs to a group of the held-out images."""
    groups = learned.table["group"].to_numpy(dtype=str)
    shared = np.flatnonzero(np.isin(groups, images.table["group"].to_numpy(dtype=str)))
    if len(shared):
        name, group = learned.table["id"].iloc[shared[0]], str(groups[shared[0]])
        raise LeakError(f"the training data of {what} contains {name!r} of group {group!r}, which {side} has images of")


def _synthetic_copies(
    learned: ImageSet, rows: NDArray[np.int64], data: ImageSet, held_out: Mapping[str, ImageSet]
) -> NDArray[np.int64]:
    """The synthetic `rows` of `learned` that equal an image of `data`, but none of train, and are not uniform."""
    if not len(rows):
        return rows  # no digest is needed
    held = [images.table["id"].to_numpy(dtype=str) for images in held_out.values()]
    in_train = ~np.isin(data.table["id"].to_numpy(dtype=str), np.concatenate(held))
    keys, known = _keys(learned.digests)[rows], _keys(data.digests)
    copies = rows[np.isin(keys, np.setdiff1d(known, known[in_train]))]
    # A collapsed generator may draw a black image, as test may hold one.
    varied = [bool(np.ptp(learned.images[row], axis=(1, 2)).any()) for row in copies]
    chosen: NDArray[np.int64] = copies[np.array(varied, bool)]
    return chosen


def _check_synthetic(learned: ImageSet, copies: NDArray[np.int64], side: str, images: ImageSet, what: str) -> None:
    """Raise LeakError if one of the synthetic `copies` of `learned` equals an image of this side."""
    if not len(copies):
        return
    keys, known = _keys(learned.digests)[copies], _keys(images.digests)
    for row, key in zip(copies, keys, strict=True):
        original = np.flatnonzero(known == key)
        if len(original):
            raise LeakError(
                f"the training data of {what} contains the synthetic image {learned.table['id'].iloc[row]!r}, which "
                f"equals {images.table['id'].iloc[int(original[0])]!r}, an image of {side}"
            )


def _keys(digests: NDArray[np.uint64]) -> NDArray[np.void]:
    """Digests (N,2) as one value each."""
    return np.ascontiguousarray(digests).view("V16").reshape(-1)


def _check_real(learned: ImageSet, rows: NDArray[np.int64], data: ImageSet, what: str) -> None:
    """Raise LeakError if one of the real `rows` of `learned` is not in `data` with the same id and pixels."""
    if not len(rows):
        return  # no digest is needed
    row_of = {name: row for row, name in enumerate(data.table["id"])}
    ids = learned.table["id"].to_numpy()[rows]
    known = np.array([row_of.get(name, -1) for name in ids], np.int64)
    differs = (learned.digests[rows] != data.digests[known]).any(1)
    invalid = np.flatnonzero((known < 0) | differs)
    if len(invalid):
        problem = "is not an image of the run" if known[invalid[0]] < 0 else "differs from the image of that name"
        raise LeakError(f"the training data of {what} contains {ids[invalid[0]]!r}, which {problem}")
