"""DICOM pixels → 8 bits: rescale slope, window/level, photometric interpretation (DICOM PS3.3 C.11, C.7.6.3)."""

from __future__ import annotations

import zlib
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import PictureError, UserError, WindowError
from augpipe.core.options import Window

SUFFIXES: Final = (".dcm", ".dicom", ".ima")
PREAMBLE = 128  # bytes before the letters DICM
META = 2  # group of the file meta information
INFLATED = 2**27  # bytes of a deflated data set


def pydicom() -> ModuleType:
    """Import pydicom; UserError if it is not installed."""
    try:
        import pydicom as library
        import pydicom.pixels
    except ModuleNotFoundError:
        raise UserError("DICOM needs pydicom, which is not installed: pip install 'augpipe[medical]'") from None
    return library


def is_dicom(stream: Any) -> bool:
    """Whether a stream starts with a DICOM header, or without preamble with its first groups; rewinds it."""
    head = stream.read(PREAMBLE + 4)
    stream.seek(0)
    return bool(head[PREAMBLE:] == b"DICM") or _is_element(head)


def _is_element(head: bytes) -> bool:
    """Whether bytes are an element of group 2 or 8, little endian:
    tag, then two letters or a small length (PS3.5, 7.1).
    """
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or len(head) < 8 or head[3] != 0:
        return False
    letters = head[4:6]
    return (letters.isalpha() and letters.isupper()) or 0 < int.from_bytes(head[4:8], "little") <= 64


def read_dicom(stream: Any, window: Window | None, most_pixels: int) -> tuple[NDArray[np.uint8], str]:
    """Read a DICOM stream → uint8 (H,W) or (H,W,3), and a description of the stored pixels.

    Grey values are rescaled (slope and intercept, or modality LUT), then windowed: by `window` in those units
    (Hounsfield for CT), else by the file's own window; MONOCHROME1 is inverted so that high is bright. Raises
    PictureError if a picture of more than 8 bits has no window, if it has several frames or more than
    `most_pixels` pixels, or if the file is broken.
    """
    library = pydicom()
    try:
        return _pixels(library, _read(library, stream), window, most_pixels)
    except PictureError:
        raise
    except Exception as error:  # pydicom raises many types for a broken file
        raise PictureError(f"broken DICOM: {type(error).__name__} {error}") from None


def read_header(library: ModuleType, stream: Any, **options: Any) -> Any:
    """pydicom's data set of a stream, with options of `dcmread`;
    PictureError if it inflates to more than INFLATED bytes.
    """
    force = is_dicom(stream)
    if stream.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM":
        meta = library.filereader.read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != META)
        if meta.get("TransferSyntaxUID") == library.uid.DeflatedExplicitVRLittleEndian:
            _check_inflated(stream.read())
    stream.seek(0)
    return library.dcmread(stream, force=force, **options)


def _check_inflated(deflated: bytes) -> None:
    """PictureError for a bomb, which pydicom would inflate whole, and for a broken stream."""
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        length = len(inflating.decompress(deflated, INFLATED + 1))
    except zlib.error as error:
        raise PictureError(f"broken DICOM: {error}") from None
    if length > INFLATED:
        raise PictureError(f"more than {INFLATED:,} bytes inflated, a decompression bomb")
    if not inflating.eof:
        raise PictureError("broken DICOM: the deflated data end too early")


def _read(library: ModuleType, stream: Any) -> Any:
    """A data set; of one without preamble and file meta information the encoding that pydicom found."""
    data = read_header(library, stream)
    if "TransferSyntaxUID" not in data.file_meta:
        uid = library.uid
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    return data


def _pixels(library: ModuleType, data: Any, window: Window | None, most_pixels: int) -> tuple[NDArray[np.uint8], str]:
    if "PixelData" not in data:
        raise PictureError("a DICOM file without pixels")
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise PictureError(f"a DICOM file of {data.NumberOfFrames} frames; only 1 is supported: save each as a file")
    if int(data.Rows) * int(data.Columns) > most_pixels:
        raise PictureError(f"{data.Columns}x{data.Rows} pixels, more than {most_pixels:,}")
    _check_decoder(library, data)
    _check_length(data)
    kind, bits = str(data.get("PhotometricInterpretation", "")), int(data.BitsStored)
    stored = library.pixels.pixel_array(data, allow_excess_frames=False)
    description = f"{kind} {bits} bits"
    if kind.startswith("MONOCHROME"):
        grey = _grey(library, data, stored, window)
        return (255 - grey if kind == "MONOCHROME1" else grey), description
    if kind == "PALETTE COLOR":
        stored = library.pixels.apply_color_lut(stored, data)
        # A 16-bit palette stores 8-bit values in the upper byte.
        stored, bits = (stored >> 8 if stored.dtype.itemsize == 2 else stored), 8
    elif bits > 8 and window != "full":
        raise WindowError(f"{bits} bits per channel", "need image.window: full, the only window for colour")
    if stored.ndim != 3 or stored.shape[2] < 3:
        raise PictureError(f"unsupported photometric interpretation {kind!r}")
    return _to_uint8(stored[:, :, :3] / (2.0**bits - 1)), description


def _check_decoder(library: ModuleType, data: Any) -> None:
    """PictureError for compressed pixels if no library that decodes them is installed."""
    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax or not syntax.is_compressed:
        return
    try:
        available = library.pixels.get_decoder(syntax).is_available
    except NotImplementedError:  # a syntax that pydicom does not know
        available = False
    if not available:
        raise PictureError(
            f"compressed ({syntax.name}), and no decoder is installed: pip install pylibjpeg pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg, or decompress the files, such as with gdcmconv --raw"
        )


def _check_length(data: Any) -> None:
    """PictureError for uncompressed pixels of two frames or more where the header says one."""
    if data.file_meta.TransferSyntaxUID.is_compressed:
        return
    bits = int(data.Rows) * int(data.Columns) * int(data.SamplesPerPixel) * int(data.BitsAllocated)
    length, frame = len(data.PixelData), -(-bits // 8)
    if length >= 2 * max(frame, 1):
        raise PictureError(f"{length:,} bytes of pixels; one frame of this size has {frame:,}")


def _to_uint8(unit: NDArray[np.float64]) -> NDArray[np.uint8]:
    """[0,1] → uint8, clipped and rounded."""
    return np.clip(np.round(unit * 255), 0, 255).astype(np.uint8)


def _grey(library: ModuleType, data: Any, stored: NDArray[Any], window: Window | None) -> NDArray[np.uint8]:
    values = np.asarray(library.pixels.apply_modality_lut(stored, data), np.float64)
    if window == "full":
        low, high = _range(data)
        unit = (values - low) / (high - low)
    elif window is not None:
        unit = (values - window[0]) / (window[1] - window[0])
    elif data.get("VOILUTSequence"):
        unit = _apply_voi_lut(values, data.VOILUTSequence[0])
    elif data.get("WindowCenter") is not None and data.get("WindowWidth") is not None:
        unit = windowed(
            values, _first(data.WindowCenter), _first(data.WindowWidth), str(data.get("VOILUTFunction") or "LINEAR")
        )
    elif int(data.BitsStored) <= 8 and not int(data.get("PixelRepresentation", 0)):
        low, high = _range(data)
        unit = (values - low) / (high - low)
    else:
        raise WindowError(
            f"values from {values.min():g} to {values.max():g} without a window in the file;",
            "set image.window: [low, high] in these units, or full",
        )
    return _to_uint8(unit)


def windowed(values: NDArray[np.float64], center: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """Values → [0, 1] by the DICOM VOI function (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if width < 1 or (function != "LINEAR" and width <= 0):
        raise PictureError(f"invalid window width {width:g}")
    if function == "LINEAR":
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        unit = (values - (center - 0.5)) / (width - 1) + 0.5
    elif function == "LINEAR_EXACT":
        unit = (values - center) / width + 0.5
    elif function == "SIGMOID":
        from scipy.special import expit

        unit = expit(4 * (values - center) / width)
    else:
        raise PictureError(f"unknown window function {function!r}")
    return np.clip(unit, 0, 1)


def _apply_voi_lut(values: NDArray[np.float64], item: Any) -> NDArray[np.float64]:
    """Values → [0,1] by a VOI LUT (PS3.3 C.11.2.1.1): values below use its first entry, values above its last."""
    n, first, bits = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    entries = data if not isinstance(data, bytes) else np.frombuffer(data, "<u2" if bits > 8 else "u1")
    table = np.asarray(entries, np.float64)
    index = np.clip(values - first, 0, (n or 65536) - 1).astype(np.int64)
    return np.asarray(table[np.minimum(index, len(table) - 1)] / (2.0**bits - 1))


def _range(data: Any) -> tuple[float, float]:
    """Minimum and maximum that the stored bits, or the modality LUT, can represent, rescaled."""
    if data.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits, signed = int(data.BitsStored), int(data.get("PixelRepresentation", 0))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = (float(data.get("RescaleSlope") or 1), float(data.get("RescaleIntercept") or 0))
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _first(value: Any) -> float:
    """First of one or several windows: the default for display."""
    return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "__len__") else value)
