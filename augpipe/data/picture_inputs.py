"""Pictures that a program hands over, in any accepted form, for the decoder of the intake."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.data.sources._pictures import Blob, WindowedPixels

COLUMN: Final = "image"  # of a table with several columns, the one that holds pictures
NAME_LENGTH: Final = 200  # characters of a path or of base64 in a message


def blobs_of(values: Any) -> tuple[list[str], list[Blob]]:
    """Any accepted input → names for messages, and blobs; UserError for other input."""
    names, blobs = [], []
    for at, item in enumerate(_items(values)):
        name = f"picture {at}"
        if isinstance(item, str | Path):
            text = str(item)
            name += f" ({text if len(text) <= NAME_LENGTH else text[:NAME_LENGTH] + '...'})"
        names.append(name)
        blobs.append(_blob(item))
    return names, blobs


def _items(values: Any) -> Iterable[Any]:
    """The pictures of an array, a sequence, a table or a column, one by one."""
    if isinstance(values, pd.DataFrame):
        if len(values.columns) > 1 and COLUMN not in values.columns:
            raise UserError(
                f"a table needs one column of pictures, or one called {COLUMN!r}; it has "
                f"{', '.join(map(str, values.columns))}"
            )
        return list(values[COLUMN] if COLUMN in values.columns else values.iloc[:, 0])
    if isinstance(values, str | bytes | Path):
        return [values]
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OUS" and values.ndim not in (3, 4):
        raise UserError(f"an array of shape {values.shape}; pictures are (N,C,H,W), (N,H,W,C) or (N,H,W)")
    if not isinstance(values, Iterable):
        raise UserError(f"expected pictures, got {type(values).__name__}")
    return values


def _blob(item: Any) -> Blob:
    """One picture in any accepted form → input of the intake decoder; an exception object if it is not a picture."""
    if isinstance(item, str):
        return _file_or_base64(item)
    if isinstance(item, list):
        try:
            return _oriented(np.array(item))
        except ValueError:
            return UserError("a nested list whose rows differ in length")
    if isinstance(item, bytes | Path | Image.Image):
        return item
    if not isinstance(item, np.ndarray):
        return UserError(f"not a picture: {type(item).__name__}")
    return _oriented(item)


def _oriented(item: NDArray[Any]) -> Blob:
    """(H,W), (H,W,C) or (C,H,W) → (H,W) or (H,W,C)."""
    if item.ndim == 3 and item.shape[0] in (1, 3) and item.shape[2] not in (1, 3):
        item = item.transpose(1, 2, 0)
    # JSON has no uint8. Whole numbers in its range are taken as such unless image.window is set, as in
    # `sources.arrays`.
    if item.dtype.kind in "iu" and item.size and item.min() >= 0 and item.max() <= 255:
        return WindowedPixels(item, (0.0, 255.0))
    return item


def _file_or_base64(text: str) -> Blob:
    """A path if there is such a file, else base64 (also as a `data:` address) if it is valid, else an error."""
    try:
        if Path(text).is_file():
            return Path(text)
    except (OSError, ValueError):
        pass  # too long for a path, or with a zero byte
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return UserError("neither a file nor a picture in base64")
