"""The data set that comes with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pictures import came
from sklearn.datasets import load_digits

from augpipe.core.options import ImageOptions


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    taken = came("bundled", tmp_path, ImageOptions(size=8))
    bunch = load_digits()
    assert taken.image_set().images.shape == (1797, 1, 8, 8)
    assert np.array_equal(taken.labels, bunch.target)
    assert np.array_equal(taken.images[:, 0], np.round(bunch.images * 255 / 16).astype(np.uint8))
    assert taken.listing.classes == tuple("0123456789")
