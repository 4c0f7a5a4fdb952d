"""DICOM pixels → 8 bits: rescale slope, window/level, photometric interpretation (DICOM PS3.3 C.11, C.7.6.3)."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from augpipe.errors import PictureError, UserError
from augpipe.images import Window

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


def read_dicom(stream: Any, window: Window | None) -> tuple[NDArray[np.uint8], str]:
    """A stream at its beginning → uint8 (H,W) or (H,W,3), and what it was.

    Grey values are rescaled (slope and intercept, or the modality's table), then windowed: by `window` in
    those units (Hounsfield for CT), else by the file's own; MONOCHROME1 is turned so that high is bright.
    Raises PictureError where a picture of more than 8 bits has no window, or has several frames.
    """
    library = pydicom()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # values that stray from the standard; pixels are what counts
        data = library.dcmread(stream)
        if "PixelData" not in data:
            raise PictureError("a DICOM file without pixels")
        if int(data.get("NumberOfFrames") or 1) > 1:
            raise PictureError(f"a DICOM file of {data.NumberOfFrames} frames; a picture has one")
        kind = str(data.get("PhotometricInterpretation", ""))
        stored = library.pixels.pixel_array(data)
        told = f"{kind} {data.get('BitsStored')} bits"
        if kind.startswith("MONOCHROME"):
            grey = _grey(library, data, stored, window)
            return (255 - grey if kind == "MONOCHROME1" else grey), told
        if kind == "PALETTE COLOR":
            stored = library.pixels.apply_color_lut(stored, data)
    if stored.ndim != 3 or stored.shape[2] < 3:
        raise PictureError(f"a photometric interpretation that is not read: {kind}")
    colour = stored[:, :, :3]
    # What is no palette's table of 16 bits is stored in 8.
    return (colour >> 8 if colour.dtype.itemsize == 2 else colour).astype(np.uint8), told


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
        table = library.pixels.apply_voi(values.astype(np.int64), data)
        part = table / (2.0 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
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
    return np.clip(np.round(part * 255), 0, 255).astype(np.uint8)


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
        part = expit(4 * (values - center) / width)
    else:
        raise PictureError(f"unknown window function {function!r}")
    return np.clip(part, 0, 1)


def _range(data: Any) -> tuple[float, float]:
    """The least and greatest value that the stored bits can hold, rescaled."""
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
