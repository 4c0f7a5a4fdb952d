"""Synthetic images beside the nearest of train."""

from __future__ import annotations

import numpy as np

from augpipe.report.strips import nearest


def test_the_nearest_image_of_train_is_found_among_its_class() -> None:
    from shapes import shapes

    train = shapes((30, 30), seed=1, size=48)
    rows = np.flatnonzero(train.labels == 1)
    asked = np.clip(train.images[rows[[4, 17]]].astype(int) + 3, 0, 255).astype(np.uint8)
    assert nearest(asked, train, rows).tolist() == [4, 17]
    # Against all distances one by one, of images that need no averaging.
    small = shapes((30, 30), seed=1)
    rows = np.flatnonzero(small.labels == 1)
    apart = (small.images[rows][None].astype(float) - small.images[:5, None]) ** 2
    assert nearest(small.images[:5], small, rows).tolist() == apart.sum((2, 3, 4)).argmin(1).tolist()
