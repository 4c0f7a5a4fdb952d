"""Pixels of more than 8 bits through a window."""

from __future__ import annotations

import numpy as np
import pytest

from augpipe.core.errors import PictureError
from augpipe.data.sources._eight_bits import through_window


def test_windows_of_signed_and_odd_values() -> None:
    values = np.array([[-1000.0, 41.0, 3000.0]])
    assert through_window(values, (-160, 240)).tolist() == [[0, 128, 255]]
    with pytest.raises(PictureError, match="have no full range"):
        through_window(values, "full")
    with pytest.raises(PictureError, match=r"values from -5 to 3 lie outside 0 to 65535"):
        through_window(np.array([[-5, 3]], np.int32), "full")
    with pytest.raises(PictureError, match="NaN or infinite"):
        through_window(np.array([[np.nan]]), (0, 1))
    with pytest.raises(PictureError, match="are not pixels"):
        through_window(np.array([["a"]]), (0, 1))
