"""Pixels of any type and mode as pictures of 8 bits, mapped by `image.window` if they have more."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augpipe.core.errors import PictureError, WindowError
from augpipe.core.options import Window

CLIPPED: Final = "with most values outside of image.window, which are clipped"
EIGHT_BITS: Final = "of 8 bits, which image.window does not change"


def clipped(values: NDArray[Any], window: Window | None) -> list[str]:
    """A note if most values lie outside of the window: it is probably of other pictures."""
    if window is None or isinstance(window, str):
        return []
    outside = (values < window[0]) | (values > window[1])
    return [CLIPPED] if outside.mean() > 0.5 else []


def eight_bits(picture: Image.Image, window: Window | None) -> Image.Image:
    """Any mode → L or RGB. Transparent pixels become black; more than 8 bits are mapped by `window`."""
    mode = picture.mode
    if mode in ("L", "RGB") and "transparency" not in picture.info:
        return picture
    if mode.startswith(("I", "F")):
        return from_array(np.asarray(picture), window)
    if mode == "1":
        return picture.convert("L")
    if mode in ("LA", "La"):
        grey = Image.new("L", picture.size)
        grey.paste(picture.convert("LA").getchannel("L"), mask=picture.getchannel("A"))
        return grey
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        plain = Image.new("RGB", picture.size)
        plain.paste(clear.convert("RGB"), mask=clear.getchannel("A"))
        return plain
    return picture.convert("RGB")


def from_array(pixels: NDArray[Any], window: Window | None) -> Image.Image:
    """(H,W), (H,W,1) or (H,W,3) of any number type → L or RGB; PictureError if values would be lost."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise PictureError(f"pixels of shape {pixels.shape}; use (H,W), (H,W,1), (H,W,3)")
    if 0 in pixels.shape:
        raise PictureError(f"pixels of shape {pixels.shape}: an empty picture")
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8:
        pixels = through_window(pixels, window)
    return Image.fromarray(np.ascontiguousarray(pixels))


def through_window(values: NDArray[Any], window: Window | None) -> NDArray[np.uint8]:
    """Numbers of any type → uint8: `window`'s low → 0, high → 255; values outside are clipped."""
    if values.dtype.kind not in "iuf":
        raise PictureError(f"values of type {values.dtype} are not pixels")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError("NaN or infinite pixels")
    if window is None:
        low, high = values.min(), values.max()
        raise WindowError(
            f"values from {low:g} to {high:g} ({values.dtype}), of more than 8 bits,",
            f"need a window: set image.window: [low, high]{'' if values.dtype.kind == 'f' else ', or full'}",
        )
    if window == "full":
        if values.dtype.kind == "f":
            raise WindowError(f"{values.dtype} pixels have no full range;", "set image.window: [low, high]")
        # Pillow stores 16-bit pixels in a 32-bit type.
        top = 65535 if values.dtype.itemsize == 4 else np.iinfo(values.dtype).max
        bounds = (0.0, float(top))
        if values.min() < 0 or values.max() > top:
            raise PictureError(f"values from {values.min()} to {values.max()} lie outside 0 to {top}")
    else:
        bounds = window
    scaled = (values.astype(np.float64) - bounds[0]) * (255 / (bounds[1] - bounds[0]))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)
