from __future__ import annotations

import numpy as np
import pytest
import torch

from augpipe.core.images import ImageSet, provenance, to_float, to_uint8
from augpipe.core.options import ImageOptions


def test_float_and_back_is_the_identity() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x = to_float(every)
    assert x.min() == -1 and x.max() == 1
    assert torch.equal(to_uint8(x), every)


def test_to_uint8_clips_and_rounds() -> None:
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0]).view(1, 1, 1, 5)
    assert to_uint8(x).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("images", "labels", "rows"),
    [
        (np.zeros((2, 1, 4, 4), np.float32), np.zeros(2, np.int64), 2),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), 2),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(3, np.int64), 2),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.int32), 2),
        (np.zeros((2, 1, 4, 4), np.uint8), np.full(2, 5, np.int64), 2),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.int64), 1),
    ],
)
def test_parts_that_do_not_fit_are_refused(images, labels, rows) -> None:
    with pytest.raises(ValueError, match=r"must|got"):
        ImageSet(images, labels, ("a", "b"), provenance([str(i) for i in range(rows)]))


def test_take_keeps_image_label_and_provenance_together(make_shapes) -> None:
    images = make_shapes((3, 4))
    some = images.take(np.array([5, 0]))
    assert some.table["id"].tolist() == ["img5", "img0"]
    assert some.labels.tolist() == [1, 0]
    assert np.array_equal(some.images[0], images.images[5])
    assert images.counts() == {0: 3, 1: 4}
    item, label = images[6]
    assert item.dtype == torch.uint8 and item.shape == (1, 16, 16) and label == 1


@pytest.mark.parametrize("window", [(3, 3), (9.0, 1.0)])
def test_a_window_rises(window) -> None:
    with pytest.raises(ValueError, match=r"a window must be \[low, high\]"):
        ImageOptions(window=window)
