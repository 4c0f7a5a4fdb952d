"""A run's own guard: nothing that learns may have seen what it is judged by.

The split keeps the sides apart; this asks again, of what really reaches a training, before each one. Two images that
became equal as they were made smaller are no leak; a held-out image under another name is one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from augpipe.core.images import REAL, ImageSet

AT_ONCE = 4096


class LeakError(RuntimeError):
    """A training would have seen what its result is judged by; the run ends, for its figures would flatter."""


def check(learned: ImageSet, data: ImageSet, held_out: Mapping[str, ImageSet], what: str) -> None:
    """LeakError where `learned` holds, or was made from, an image of a held-out side.

    learned: real and synthetic images that `what` learns from. data: every image that came into the run. Real ones
    must be some of these by id and by pixels, so that no image comes in under another's name.
    """
    ids = learned.table["id"].to_numpy(dtype=str)
    parents = learned.table["parent"].to_numpy(dtype=str)
    real = (learned.table["origin"] == REAL).to_numpy()
    for side, images in held_out.items():
        theirs = images.table["id"].to_numpy(dtype=str)
        for found, how in (
            (np.isin(ids, theirs) & real, "holds"),
            (np.isin(parents, theirs), "holds images made from"),
        ):
            if found.any():
                told = str((ids if how == "holds" else parents)[found][0])
                raise LeakError(f"what {what} would learn from {how} {told!r}, an image of {side}")
    _known(learned, np.flatnonzero(real), data, what)


def _known(
    learned: ImageSet, rows: np.ndarray[tuple[int], np.dtype[np.int64]], data: ImageSet, what: str
) -> None:
    place = {name: row for row, name in enumerate(data.table["id"])}
    ids = learned.table["id"].to_numpy()
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        there = np.array([place.get(ids[row], -1) for row in part], np.int64)
        same = (learned.images[part] == data.images[there]).reshape(len(part), -1).all(1)
        wrong = (there < 0) | ~same
        if wrong.any():
            name = ids[part[wrong][0]]
            how = (
                "is none of the run's images"
                if there[wrong][0] < 0
                else "is not the image of that name"
            )
            raise LeakError(f"what {what} would learn from holds {name!r}, which {how}")
