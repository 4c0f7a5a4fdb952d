"""One picture → one array: what every source shares, and the reasons why a picture cannot be used."""

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

from augpipe.core.errors import PictureError
from augpipe.core.options import Resize, Window
from augpipe.data.sources._dicom import is_dicom, read_dicom

if TYPE_CHECKING:
    from augpipe.core.images import ImageSpec

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".pbm",
    ".webp", ".gif",
)  # fmt: skip
# Pictures, too, of formats that are not read: not to be taken for files that are none.
OTHER_FORMATS = (".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".eps", ".raw", ".dng", ".nef",
                 ".cr2", ".ico", ".tga", ".exr")  # fmt: skip
_MAGIC = (
    b"\x89PNG\r\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"P5",
    b"P6",
    b"BM",
    b"RIFF",
)
# What files may hold, whatever their names say. Pillow knows more formats, some of which start other programs
# (EPS) or read other files. Named by their modules: Pillow knows a format only once its module is imported.
FORMATS: Final = tuple(
    module.__name__.split(".")[-1].removesuffix("ImagePlugin").upper()
    for module in (
        PngImagePlugin, JpegImagePlugin, BmpImagePlugin, TiffImagePlugin, PpmImagePlugin,
        WebPImagePlugin, GifImagePlugin,
    )
)  # fmt: skip
MOST_PIXELS: Final = (
    89_478_485  # a larger picture is taken for a decompression bomb (Pillow's own limit)
)
THUMB: Final = 32  # side of the grey thumbnail that perceptual hashes come from
# What Pillow and pydicom raise for files that are broken one way or another.
UNREADABLE: Final = (
    OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, IndexError, AttributeError,
    NotImplementedError, OverflowError, MemoryError, RuntimeError, Image.DecompressionBombError,
    Image.DecompressionBombWarning, ArithmeticError, AssertionError, struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class Valued:
    """Pixels (H,W) or (H,W,C) whose source knows what they lie between; image.window comes before it."""

    pixels: NDArray[Any]
    window: Window


# A file, its bytes, pixels (H,W) or (H,W,C), or why there is nothing to read.
Blob = Path | bytes | Image.Image | NDArray[Any] | Valued | Exception


@dataclass(frozen=True)
class Picture:
    """A picture, upright, as L or RGB of 8 bits, and what it was before."""

    pixels: Image.Image
    mode: str
    format: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """A picture as the set holds it, and what duplicates are found by."""

    image: NDArray[np.uint8]  # (C,H,W)
    thumb: NDArray[np.uint8]  # grey (THUMB,THUMB)
    content: bytes  # 16 bytes that name the pixels at their own size
    width: int
    height: int
    mode: str
    format: str
    notes: tuple[str, ...]


def begins_as_picture(path: Path) -> bool:
    """Whether a file without a suffix holds a picture, by its first bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(8).startswith(_MAGIC)
    except OSError:
        return True  # it is named with its reason when it is read


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warning of a decompression bomb becomes an error; its other warnings are silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read(blob: Blob, spec: ImageSpec, resize: Resize, window: Window | None) -> Read:
    """A blob → arrays. Raises one of UNREADABLE with the reason where it cannot be used."""
    picture = decode(blob, window)
    pixels = _grey_if_so(picture.pixels)
    name = f"{pixels.mode} {pixels.width}x{pixels.height}".encode()
    content = hashlib.blake2b(pixels.tobytes(), digest_size=16, person=name[:16]).digest()
    grey = pixels if pixels.mode == "L" else pixels.convert("L")
    thumb = np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.BOX))
    wanted = pixels.convert("L" if spec.channels == 1 else "RGB")
    image = fit(wanted, spec, resize)
    return Read(
        image, thumb, content, *pixels.size, picture.mode, picture.format, picture.notes
    )  # fmt: skip


def _grey_if_so(pixels: Image.Image) -> Image.Image:
    """RGB with three equal channels, as X-rays are often stored, → L: the same picture is known as the same."""
    if pixels.mode != "RGB":
        return pixels
    planes = np.asarray(pixels)
    grey = planes[:, :, 0]
    if (grey == planes[:, :, 1]).all() and (grey == planes[:, :, 2]).all():
        return Image.fromarray(np.ascontiguousarray(grey))
    return pixels


def decode(blob: Blob, window: Window | None) -> Picture:
    """A blob → an upright picture of 8 bits. Raises one of UNREADABLE with the reason."""
    if isinstance(blob, Exception):
        raise blob
    if isinstance(blob, Valued):
        return decode(blob.pixels, window or blob.window)
    if isinstance(blob, np.ndarray):
        return Picture(from_array(blob, window), _array_mode(blob), "array")
    if isinstance(blob, Image.Image):
        return _upright(blob, window)
    if isinstance(blob, bytes):
        return _from_file(io.BytesIO(blob), window)
    with blob.open("rb") as stream:
        return _from_file(stream, window)


def _from_file(stream: Any, window: Window | None) -> Picture:
    if is_dicom(stream):
        pixels, told = read_dicom(stream, window, MOST_PIXELS)
        return Picture(from_array(pixels, None), told, "DICOM")
    with Image.open(stream, formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise PictureError(
                f"{opened.width}x{opened.height} pixels, a decompression bomb: more than {MOST_PIXELS:,}"
            )
        frames = getattr(opened, "n_frames", 1)
        # A phone's JPEG may carry a second picture (MPO); the first is the one that is meant.
        if frames > 1 and opened.format != "MPO":
            raise PictureError(f"a {opened.format} of {frames} frames; a picture has one")
        return _upright(opened, window)


def _upright(opened: Image.Image, window: Window | None) -> Picture:
    """Rotated as EXIF says, then of 8 bits."""
    tiles = getattr(opened, "tile", ())
    stored = [str(tile) for tile in tiles]  # gone once it is loaded
    most = _most(opened, tiles)
    opened.load()
    mode, notes = opened.mode, []
    deep = any(";16" in tile for tile in stored) or most > 255
    if mode in ("RGB", "RGBA") and deep and window != "full":
        # Pillow reads the upper 8 bits, which is what the whole range comes to.
        raise PictureError("16 bits a channel need image.window: full, the only one for colour")
    turned, unreadable = opened, _exif_is_cut(opened.info.get("exif"))
    if opened.format is not None and ("exif" in opened.info or opened.format == "TIFF"):
        try:
            turned = ImageOps.exif_transpose(opened)
        except Exception:  # whatever broken metadata raise, the pixels are there
            unreadable = True
    if unreadable:
        notes.append("EXIF that cannot be read; taken as they lie")
    if most > 255 and mode == "I":
        # Pillow spreads them over 16 bits; a window means the values that the file holds.
        values = np.round(np.asarray(turned) * (most / 65535))
        whole = (0.0, float(most)) if window == "full" else window
        return Picture(from_array(values.astype(np.int32), whole), mode, "PPM", tuple(notes))
    return Picture(eight_bits(turned, window), mode, opened.format or "array", tuple(notes))


def _exif_is_cut(exif: object) -> bool:
    """Whether EXIF data ends before its first directory does, which holds the orientation (TIFF 6.0, section 2)."""
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


def _most(opened: Image.Image, tiles: Any) -> int:
    """The greatest value a PGM or PPM may hold, by its head; 0 for other formats."""
    if opened.format != "PPM":
        return 0
    for tile in tiles:
        arguments = tile[3]
        if isinstance(arguments, tuple) and len(arguments) > 1 and isinstance(arguments[1], int):
            return int(arguments[1])
        if "16" in str(arguments):
            return 65535
    return 0


def eight_bits(picture: Image.Image, window: Window | None) -> Image.Image:
    """Any mode → L or RGB. Transparent pixels become black; more than 8 bits go through `window`."""
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
    """(H,W), (H,W,1) or (H,W,3) of any number type → L or RGB; PictureError where it would lose values."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise PictureError(
            f"pixels of shape {pixels.shape}; a picture is (H,W), (H,W,1) or (H,W,3)"
        )
    if 0 in pixels.shape:
        raise PictureError(f"pixels of shape {pixels.shape}: an empty picture")
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8:
        pixels = through_window(pixels, window)
    return Image.fromarray(np.ascontiguousarray(pixels))


def through_window(values: NDArray[Any], window: Window | None) -> NDArray[np.uint8]:
    """Numbers of any type → uint8: `window`'s low becomes 0, its high 255; what lies outside is clipped."""
    if values.dtype.kind not in "iuf":
        raise PictureError(f"values of type {values.dtype} are no pixels")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError("NaN or infinite pixels")
    if window is None:
        low, high = values.min(), values.max()
        raise PictureError(
            f"values from {low:g} to {high:g} ({values.dtype}), of more than 8 bits, need a window: "
            f"image.window: [low, high]{'' if values.dtype.kind == 'f' else ', or full'}"
        )
    if window == "full":
        if values.dtype.kind == "f":
            raise PictureError(
                f"{values.dtype} pixels have no full range; image.window: [low, high]"
            )
        # Pillow holds 16 bits in its type of 32.
        top = 65535 if values.dtype.itemsize == 4 else np.iinfo(values.dtype).max
        low_high = (0.0, float(top))
        if values.min() < 0 or values.max() > top:
            raise PictureError(
                f"values from {values.min()} to {values.max()} lie outside 0 to {top}"
            )
    else:
        low_high = window
    scaled = (values.astype(np.float64) - low_high[0]) * (255 / (low_high[1] - low_high[0]))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def _array_mode(pixels: NDArray[Any]) -> str:
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    plain = "RGB" if colour else "L"
    return plain if pixels.dtype == np.uint8 else f"{plain} {pixels.dtype}"


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
