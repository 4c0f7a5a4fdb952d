"""Decode one picture into one array, or raise the reason why it cannot be used; shared by all sources."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from augpipe.core.errors import PictureError, WindowError
from augpipe.core.marks import is_synthetic, manifests
from augpipe.core.options import Resize, Window
from augpipe.data.sources._dicom import is_dicom, read_dicom
from augpipe.data.sources._eight_bits import EIGHT_BITS, clipped, eight_bits, from_array

if TYPE_CHECKING:
    from augpipe.core.image_spec import ImageSpec

# Formats that are decoded, whatever the file name. Pillow has more formats, some of which start other programs (EPS)
# or read other files. Derived from the plugin modules because Pillow registers a format when its module is imported.
FORMATS: Final = tuple(
    module.__name__.split(".")[-1].removesuffix("ImagePlugin").upper()
    for module in (
        PngImagePlugin,
        JpegImagePlugin,
        BmpImagePlugin,
        TiffImagePlugin,
        PpmImagePlugin,
        WebPImagePlugin,
        GifImagePlugin,
    )
)
# Larger pictures are rejected as decompression bombs (Pillow's default limit).
MOST_PIXELS: Final = 89_478_485
MARKED: Final = "marked as made by a trained model"
AS_REAL: Final = ", and read as a real image"
THUMB: Final = 32  # side in pixels of the grey thumbnail for perceptual hashes
# Exceptions of Pillow and pydicom for broken files.
UNREADABLE: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    ArithmeticError,
    AssertionError,
    struct.error,
)


@dataclass(frozen=True)
class WindowedPixels:
    """Pixels (H,W) or (H,W,C) with the window known to the source; image.window takes precedence."""

    pixels: NDArray[Any]
    window: Window


# A file, its bytes, pixels (H,W) or (H,W,C), or the error if it cannot be read.
Blob = Path | bytes | Image.Image | NDArray[Any] | WindowedPixels | Exception


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit picture (mode L or RGB), with its original mode and format."""

    pixels: Image.Image
    mode: str
    format: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """A picture as stored in the image set, and the data for finding duplicates."""

    image: NDArray[np.uint8]  # (C,H,W)
    thumb: NDArray[np.uint8]  # grey (THUMB,THUMB)
    content: bytes  # 16-byte hash of the pixels at their original size
    width: int
    height: int
    mode: str
    format: str
    notes: tuple[str, ...]


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which Pillow's decompression bomb warning is an error and other warnings are silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read(blob: Blob, spec: ImageSpec, resize: Resize, window: Window | None) -> Read:
    """Decode and resize a blob → arrays. Raises one of UNREADABLE with the reason if it cannot be used."""
    picture = decode(blob, window)
    pixels = _to_grey_if_equal(picture.pixels)
    name = f"{pixels.mode} {pixels.width}x{pixels.height}".encode()
    content = hashlib.blake2b(pixels.tobytes(), digest_size=16, person=name[:16]).digest()
    grey = pixels if pixels.mode == "L" else pixels.convert("L")
    # Not BOX: at ratios that are not whole, its thumbnail of a mirror image is not the mirrored thumbnail.
    thumb = np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.LANCZOS))
    wanted = pixels.convert("L" if spec.channels == 1 else "RGB")
    image = fit(wanted, spec, resize)
    return Read(image, thumb, content, *pixels.size, picture.mode, picture.format, picture.notes)


def converted(pixels: Image.Image, spec: ImageSpec) -> Image.Image:
    """A picture of mode L or RGB with the channels of the image set, at its own size."""
    return _to_grey_if_equal(pixels).convert("L" if spec.channels == 1 else "RGB")


def _to_grey_if_equal(pixels: Image.Image) -> Image.Image:
    """RGB with three equal channels (common for X-rays) → L, so that both forms count as duplicates."""
    if pixels.mode != "RGB":
        return pixels
    planes = np.asarray(pixels)
    grey = planes[:, :, 0]
    if (grey == planes[:, :, 1]).all() and (grey == planes[:, :, 2]).all():
        return Image.fromarray(np.ascontiguousarray(grey))
    return pixels


def decode(blob: Blob, window: Window | None) -> Picture:
    """Decode a blob → upright 8-bit picture. Raises one of UNREADABLE with the reason."""
    if isinstance(blob, Exception):
        raise blob
    if isinstance(blob, WindowedPixels):
        return decode(blob.pixels, window or blob.window)
    if isinstance(blob, np.ndarray):
        narrow = blob.dtype in (np.uint8, np.bool_) and window is not None
        notes = (EIGHT_BITS,) if narrow else tuple(clipped(blob, window))
        return Picture(from_array(blob, window), _array_mode(blob), "array", notes)
    if isinstance(blob, Image.Image):
        return _upright(blob, window)
    if isinstance(blob, bytes):
        return _from_file(io.BytesIO(blob), window)
    with blob.open("rb") as stream:
        return _from_file(stream, window)


def _from_file(stream: Any, window: Window | None) -> Picture:
    if is_dicom(stream):
        pixels, mode = read_dicom(stream, window, MOST_PIXELS)
        return Picture(from_array(pixels, None), mode, "DICOM")
    with Image.open(stream, formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise PictureError(
                f"{opened.width}x{opened.height} pixels, a decompression bomb: more than {MOST_PIXELS:,}"
            )
        frames = getattr(opened, "n_frames", 1)
        # Phones store a second picture in a JPEG (MPO); the first is the main one.
        if frames > 1 and opened.format != "MPO":
            raise PictureError(f"a {opened.format} of {frames} frames; only 1 is supported: save each as a file")
        return _upright(opened, window)


def _upright(opened: Image.Image, window: Window | None) -> Picture:
    """Rotate according to EXIF and convert to 8 bits."""
    tiles = getattr(opened, "tile", ())
    stored_tiles = [str(tile) for tile in tiles]  # Pillow clears it on load
    max_value = _max_value(opened, tiles)
    opened.load()
    mode, notes = opened.mode, []
    is_16_bit = any(";16" in tile for tile in stored_tiles) or max_value > 255
    if mode in ("RGB", "RGBA") and is_16_bit and window != "full":
        # Pillow keeps the upper 8 bits, which is the result of the full window only.
        raise WindowError("16 bits per channel", "need image.window: full, the only window for colour")
    upright, broken_exif = opened, _exif_is_truncated(opened.info.get("exif"))
    if opened.format is not None and ("exif" in opened.info or opened.format == "TIFF"):
        try:
            upright = ImageOps.exif_transpose(opened)
        except Exception:  # broken metadata raise many types; the pixels are intact
            broken_exif = True
    if broken_exif:
        notes.append("unreadable EXIF; orientation ignored")
    if is_synthetic(opened.info, manifests(opened)):
        notes.append(MARKED + AS_REAL)
    if window is not None and not (is_16_bit or mode.startswith(("I", "F"))):
        notes.append(EIGHT_BITS)
    if max_value > 255 and mode == "I":
        # Pillow scales values to 16 bits; undo it, because a window refers to the values in the file.
        values = np.round(np.asarray(upright) * (max_value / 65535))
        range_window = (0.0, float(max_value)) if window == "full" else window
        notes += clipped(values, window)
        return Picture(from_array(values.astype(np.int32), range_window), mode, "PPM", tuple(notes))
    if EIGHT_BITS not in notes:
        notes += clipped(np.asarray(upright), window)
    return Picture(eight_bits(upright, window), mode, opened.format or "array", tuple(notes))


def _exif_is_truncated(exif: object) -> bool:
    """Whether EXIF data is truncated within its first directory, which has the orientation (TIFF 6.0, section 2)."""
    data = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    if not data:
        return False
    order = "<" if data.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, start)
    except struct.error:
        return True
    return int(start + 2 + 12 * entries) > len(data)


def _max_value(opened: Image.Image, tiles: Any) -> int:
    """Maximum value declared in the header of a PGM or PPM; 0 for other formats."""
    if opened.format != "PPM":
        return 0
    for tile in tiles:
        arguments = tile[3]
        if isinstance(arguments, tuple) and len(arguments) > 1 and isinstance(arguments[1], int):
            return int(arguments[1])
        if "16" in str(arguments):
            return 65535
    return 0


def _array_mode(pixels: NDArray[Any]) -> str:
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    plain = "RGB" if colour else "L"
    return plain if pixels.dtype == np.uint8 else f"{plain} {pixels.dtype}"


def fit(picture: Image.Image, spec: ImageSpec, resize: Resize) -> NDArray[np.uint8]:
    """Resize an L or RGB picture → uint8 (C,H,W): stretched, padded with black, or cropped at the centre."""
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
