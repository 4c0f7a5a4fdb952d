"""A tiny image set that a small net can tell apart; nothing else is imported, because new processes import it."""

from __future__ import annotations

import numpy as np

from augpipe.core.images import ImageSet, provenance


def shapes(counts: tuple[int, ...], size: int = 16, channels: int = 1, seed: int = 0) -> ImageSet:
    """Class c has a bright bar at its own height, over noise: easy, but not the same twice."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = rng.integers(0, 60, (len(labels), channels, size, size), dtype=np.uint8)
    for row, label in enumerate(labels):
        top = 1 + (label * (size - 4)) // max(1, len(counts)) + rng.integers(0, 2)
        images[row, :, top : top + 3, 2 : size - 2] = rng.integers(180, 255)
    ids = [f"img{row}" for row in range(len(labels))]
    names = tuple(f"c{c}" for c in range(len(counts)))
    return ImageSet(images, labels, names, provenance(ids))
