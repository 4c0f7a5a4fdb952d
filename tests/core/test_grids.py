from __future__ import annotations

import numpy as np
import pytest

from augpipe.core.images import grid


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_stands_where_it_belongs(channels: int) -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, channels, 4, 4), np.uint8)
    sheet = np.asarray(grid(images, columns=3, gap=1))
    assert sheet.shape[:2] == (2 * 4 + 1, 3 * 4 + 2)
    for at in range(5):
        y, x = (at // 3) * 5, (at % 3) * 5
        assert (sheet[y : y + 4, x : x + 4] == at).all()
    assert (sheet[:, 4] == 255).all() and (sheet[5:, 10:] == 255).all()


def test_scale_enlarges_without_blurring() -> None:
    images = np.array([[[[0, 200]]]], np.uint8)
    assert np.asarray(grid(images, 1, scale=2)).tolist() == [[0, 0, 200, 200]] * 2
