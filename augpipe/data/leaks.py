"""Check before each training that its images do not include held-out ones.

The split is disjoint; this checks again what a training actually receives. Two images that became equal by resizing are
not a leak; a held-out image under another id is one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from augpipe.core.images import REAL, ImageSet

AT_ONCE = 4096  # images compared at a time


class LeakError(RuntimeError):
    """Training data includes or derives from held-out images; the run stops, because its scores would be too high."""


def check(learned: ImageSet, data: ImageSet, held_out: Mapping[str, ImageSet], what: str) -> None:
    """Raise LeakError if `learned` contains a held-out image or a synthetic image derived from one.

    learned: real and synthetic images that train `what`. data: all images of the run. Every real image must equal one
    of these by id and pixels, so that no image is used under the id of another. held_out: val and test images by name.
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
                raise LeakError(
                    f"the training data of {what} {relation} {name!r}, an image of {side}"
                )
    _check_real(learned, np.flatnonzero(real), data, what)


def _check_real(
    learned: ImageSet, rows: np.ndarray[tuple[int], np.dtype[np.int64]], data: ImageSet, what: str
) -> None:
    """Raise LeakError if one of the real `rows` of `learned` is not in `data` with the same id and pixels."""
    row_of = {name: row for row, name in enumerate(data.table["id"])}
    ids = learned.table["id"].to_numpy()
    for start in range(0, len(rows), AT_ONCE):
        chunk = rows[start : start + AT_ONCE]
        known_rows = np.array([row_of.get(ids[row], -1) for row in chunk], np.int64)
        same = (learned.images[chunk] == data.images[known_rows]).reshape(len(chunk), -1).all(1)
        invalid = (known_rows < 0) | ~same
        if invalid.any():
            name = ids[chunk[invalid][0]]
            problem = (
                "is not an image of the run"
                if known_rows[invalid][0] < 0
                else "differs from the image of that name"
            )
            raise LeakError(f"the training data of {what} contains {name!r}, which {problem}")
