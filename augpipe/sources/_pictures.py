"""One picture file → one array; what every source of files shares."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from augpipe.images import ImageSpec

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp")
Resize = Literal["stretch", "fit", "crop"]


def read_picture(path: Path, spec: ImageSpec, resize: Resize) -> NDArray[np.uint8]:
    """Picture file → uint8 (C,H,W) of `spec`. Raises OSError or ValueError where it cannot be read."""
    with Image.open(path) as picture:
        # A grey picture of more than 8 bits would be cut off at 255 without a word.
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"{picture.mode} pixels of more than 8 bits are not read yet")
        upright = ImageOps.exif_transpose(picture)
        return fit(upright.convert("L" if spec.channels == 1 else "RGB"), spec, resize)


def fit(picture: Image.Image, spec: ImageSpec, resize: Resize) -> NDArray[np.uint8]:
    """L or RGB picture → uint8 (C,H,W): stretched; fitted with black borders; or cropped at the centre."""
    size = (spec.size, spec.size)
    if picture.size != size:
        if resize == "stretch":
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        elif resize == "fit":
            picture = ImageOps.pad(picture, size, Image.Resampling.LANCZOS)
        else:
            picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
