"""Whether images that were made elsewhere lie nearer to val and test than to train: their generator had seen these.

The permutation test of `fidelity.exchange`, as of memorisation, with the sides exchanged: members are the held-out
images. In pixels alone, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.images import ImageSet
from augpipe.synthetic import views
from augpipe.synthetic.fidelity.exchange import Deals, Space, exchange_test

SEEN: Final = 0.01  # p below which a run warns


def nearer_to_held_out(
    external: ImageSet, train: ImageSet, held_out: ImageSet, rng: np.random.Generator
) -> tuple[float, str]:
    """p of the test, small if the images lie nearer to `held_out` than to `train`; NaN and a reason if it cannot say.

    Images of a group are exchanged together.
    """
    classes = [
        space for label in np.unique(external.labels).tolist() for space in _space(label, external, train, held_out)
    ]
    if not classes:
        return float("nan"), "no class has images in train, val or test, and of the generator"
    refusal = Deals(classes).refusal()
    if refusal:
        return float("nan"), refusal
    return exchange_test(classes, rng), ""


def _space(label: int, external: ImageSet, train: ImageSet, held_out: ImageSet) -> Sequence[Space]:
    """One class in pixels, with the held-out images as members; nothing if a set has none."""
    rows = [np.flatnonzero(images.labels == label) for images in (external, held_out, train)]
    if min(map(len, rows)) == 0:
        return ()
    units = _units(held_out, train, rows[1], rows[2])
    synthetic, members, others = (
        images.images[of] for images, of in zip((external, held_out, train), rows, strict=True)
    )
    return (Space(synthetic, members, others, units, views.nearest),)


def _units(
    held_out: ImageSet, train: ImageSet, members: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A number for each group of the two sets, the same in every class."""
    names = np.concatenate([held_out.table["group"].to_numpy(dtype=str), train.table["group"].to_numpy(dtype=str)])
    codes: NDArray[np.int64] = pd.factorize(names)[0].astype(np.int64)
    chosen: NDArray[np.int64] = codes[np.concatenate([members, len(held_out) + others])]
    return chosen
