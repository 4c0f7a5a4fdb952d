"""DICOM pixels → 8 bits: rescale slope, window/level, photometric interpretation (DICOM PS3.3 C.11, C.7.6.3)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import PictureError, UserError
from augpipe.core.options import Window

PREAMBLE = 128  # bytes before the letters DICM


def pydicom() -> ModuleType:
    """The library that reads DICOM; UserError where it is not installed."""
    try:
        import pydicom as library
        import pydicom.pixels
    except ModuleNotFoundError:
        raise UserError(
            "DICOM needs pydicom, which is not installed: pip install 'augpipe[medical]'"
        ) from None
    return library


def is_dicom(stream: Any) -> bool:
    """Whether a file begins as DICOM does; the stream is left at its beginning."""
    head = stream.read(PREAMBLE + 4)
    stream.seek(0)
    return bool(head[PREAMBLE:] == b"DICM")


def read_dicom(
    stream: Any, window: Window | None, most_pixels: int
) -> tuple[NDArray[np.uint8], str]:
    """A stream at its beginning → uint8 (H,W) or (H,W,3), and what it was.

    Grey values are rescaled (slope and intercept, or the modality's table), then windowed: by `window` in
    those units (Hounsfield for CT), else by the file's own; MONOCHROME1 is turned so that high is bright.
    Raises PictureError where a picture of more than 8 bits has no window, has several frames or more than
    `most_pixels`, or where the file is broken.
    """
    library = pydicom()
    try:
        return _pixels(library, library.dcmread(stream), window, most_pixels)
    except PictureError:
        raise
    except Exception as error:  # a broken file makes pydicom raise whatever its parts raise
        raise PictureError(f"broken DICOM: {type(error).__name__} {error}") from None


def _pixels(
    library: ModuleType, data: Any, window: Window | None, most_pixels: int
) -> tuple[NDArray[np.uint8], str]:
    if "PixelData" not in data:
        raise PictureError("a DICOM file without pixels")
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise PictureError(f"a DICOM file of {data.NumberOfFrames} frames; a picture has one")
    if int(data.Rows) * int(data.Columns) > most_pixels:
        raise PictureError(f"{data.Columns}x{data.Rows} pixels, more than {most_pixels:,}")
    kind, bits = str(data.get("PhotometricInterpretation", "")), int(data.BitsStored)
    stored = library.pixels.pixel_array(data)
    told = f"{kind} {bits} bits"
    if kind.startswith("MONOCHROME"):
        grey = _grey(library, data, stored, window)
        return (255 - grey if kind == "MONOCHROME1" else grey), told
    if kind == "PALETTE COLOR":
        stored = library.pixels.apply_color_lut(stored, data)
        # A table of 16 bits holds its 8 in the upper byte.
        stored, bits = (stored >> 8 if stored.dtype.itemsize == 2 else stored), 8
    elif bits > 8 and window != "full":
        raise PictureError(
            f"{bits} bits a channel need image.window: full, the only one for colour"
        )
    if stored.ndim != 3 or stored.shape[2] < 3:
        raise PictureError(f"a photometric interpretation that is not read: {kind}")
    return _eight(stored[:, :, :3] / (2.0**bits - 1)), told


def _eight(part: NDArray[np.float64]) -> NDArray[np.uint8]:
    """[0,1] → uint8, clipped and rounded."""
    return np.clip(np.round(part * 255), 0, 255).astype(np.uint8)


def _grey(
    library: ModuleType, data: Any, stored: NDArray[Any], window: Window | None
) -> NDArray[np.uint8]:
    values = np.asarray(library.pixels.apply_modality_lut(stored, data), np.float64)
    if window == "full":
        low, high = _range(data)
        part = (values - low) / (high - low)
    elif window is not None:
        part = (values - window[0]) / (window[1] - window[0])
    elif data.get("VOILUTSequence"):
        part = _through_table(values, data.VOILUTSequence[0])
    elif data.get("WindowCenter") is not None and data.get("WindowWidth") is not None:
        part = windowed(
            values,
            _first(data.WindowCenter),
            _first(data.WindowWidth),
            str(data.get("VOILUTFunction") or "LINEAR"),
        )
    elif int(data.BitsStored) <= 8 and not int(data.get("PixelRepresentation", 0)):
        low, high = _range(data)
        part = (values - low) / (high - low)
    else:
        raise PictureError(
            f"values from {values.min():g} to {values.max():g} without a window in the file; "
            "image.window: [low, high] in these units, or full"
        )
    return _eight(part)


def windowed(
    values: NDArray[np.float64], center: float, width: float, function: str = "LINEAR"
) -> NDArray[np.float64]:
    """Values → [0, 1] by the DICOM VOI function (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if width < 1 or (function != "LINEAR" and width <= 0):
        raise PictureError(f"a window of width {width:g}")
    if function == "LINEAR":
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        part = (values - (center - 0.5)) / (width - 1) + 0.5
    elif function == "LINEAR_EXACT":
        part = (values - center) / width + 0.5
    elif function == "SIGMOID":
        from scipy.special import expit

        part = expit(4 * (values - center) / width)
    else:
        raise PictureError(f"unknown window function {function!r}")
    return np.clip(part, 0, 1)


def _through_table(values: NDArray[np.float64], item: Any) -> NDArray[np.float64]:
    """Values → [0,1] by a VOI LUT (PS3.3 C.11.2.1.1): its first entry for all that lie below, its last above."""
    n, first, bits = (int(v) for v in item.LUTDescriptor)
    given = item.LUTData
    wide = (
        given if not isinstance(given, bytes) else np.frombuffer(given, "<u2" if bits > 8 else "u1")
    )
    table = np.asarray(wide, np.float64)
    at = np.clip(values - first, 0, (n or 65536) - 1).astype(np.int64)
    return np.asarray(table[np.minimum(at, len(table) - 1)] / (2.0**bits - 1))


def _range(data: Any) -> tuple[float, float]:
    """The least and greatest value that the stored bits, or the modality's table, can hold, rescaled."""
    if data.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits, signed = int(data.BitsStored), int(data.get("PixelRepresentation", 0))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = (
        float(data.get("RescaleSlope") or 1),
        float(data.get("RescaleIntercept") or 0),
    )
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _first(value: Any) -> float:
    """A file may offer several windows; the first is the one it is shown with."""
    return float(
        value[0] if isinstance(value, list | tuple) or hasattr(value, "__len__") else value
    )
