"""Grids of images as one picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def grid(images: NDArray[np.uint8], columns: int, gap: int = 1, scale: int = 1) -> Image.Image:
    """uint8 (N,C,H,W), row by row → picture with `columns` images a row, `gap` px apart, enlarged `scale` times."""
    n, c, h, w = images.shape
    rows = max(1, -(-n // columns))
    sheet = np.full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), 255, np.uint8)
    for at in range(n):
        y, x = (at // columns) * (h + gap), (at % columns) * (w + gap)
        sheet[:, y : y + h, x : x + w] = images[at]
    picture = Image.fromarray(sheet[0] if c == 1 else sheet.transpose(1, 2, 0))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
