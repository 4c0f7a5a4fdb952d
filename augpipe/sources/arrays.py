"""Arrays: an .npz in MedMNIST's form or with `images` and `labels`, or a pair of .npy files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import Field

from augpipe.errors import UserError, choices
from augpipe.images import Window
from augpipe.schema import KindConfig
from augpipe.sources._listing import SPLITS, Listing, Rows, WholePath, one_spelling
from augpipe.sources._pictures import Blob, Valued

AT_ONCE: Final = 2**24  # bytes of pixels read at a time
MOST_CLASSES: Final = 10_000
DOUBTFUL: Final = 4.0  # floats up to here may be meant to lie in 0 to 1
DIM: Final = 0.02  # share of images within 0 to 1 from which on a set in 0 to 255 is in doubt
BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
)


class Config(KindConfig):
    """`path`: an .npz with `images` and `labels` (and `groups`, `weights` where it has them), or with
    `train_images`, `train_labels` and so on for train, val and test; or an .npy of images.

    labels: the .npy of labels that goes with an .npy of images. names: what the labels 0, 1, ... are called.
    official: false puts the file's own splits together, for others to be drawn.
    Images are (N,H,W), (N,H,W,C) or (N,C,H,W); floats lie in 0 to 1 or in 0 to 255 and
    integers in 0 to 255, or take an image.window.
    """

    kind: Literal["arrays"]
    path: WholePath
    labels: WholePath | None = None
    names: tuple[str, ...] | None = Field(default=None, min_length=2)
    official: bool = True


def suggest(path: Path) -> dict[str, Any] | None:
    """The config for what a user points at; None where it is not this kind's."""
    return {"kind": "arrays", "path": str(path)} if path.suffix.lower() == ".npz" else None


def listing(config: Config) -> Listing:
    """Every image of every array; UserError where the file is of another form, or broken."""
    try:
        return _listing(config)
    except UserError:
        raise
    except BROKEN as error:
        raise _unreadable(config.path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"cannot read {path}: {' '.join(str(error).split()) or type(error).__name__}")


def _listing(config: Config) -> Listing:
    parts = _npz(config) if config.path.suffix.lower() == ".npz" else [_pair(config)]
    labels = np.concatenate([part.labels for part in parts])
    codes, classes = _classes(labels, config)
    starts = np.cumsum([0, *(part.images.n for part in parts)])
    windows = [_window(part.images, part.name) for part in parts]

    def fetch(rows: Rows) -> Iterator[Blob]:
        for part, start, end, (window, _) in zip(parts, starts, starts[1:], windows, strict=False):
            own = rows[(rows >= start) & (rows < end)] - start
            for pixels in part.images.at(own):
                yield pixels if window is None else Valued(pixels, window)

    named = [part.name for part in parts for _ in range(part.images.n)]
    official = config.official and parts[0].name != ""
    ids = [f"{part.name or 'images'}/{row:06d}" for part in parts for row in range(part.images.n)]
    return Listing(
        ids=ids,
        labels=codes,
        classes=classes,
        fetch=fetch,
        splits=np.array(named, object) if official else None,
        groups=_column([part.groups for part in parts], np.array(ids, object)),
        weights=_weights([part.weights for part in parts], config.path),
        notes=tuple(note for _, notes in windows for note in notes),
    )


@dataclass(frozen=True)
class _Part:
    """One array of images with what belongs to it; `name` is its split, "" where there is none."""

    name: str
    images: _Images
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None


class _Images:
    """An array of images on disk, read a block at a time; never more than AT_ONCE bytes in memory."""

    def __init__(self, path: Path, member: str | None, where: str) -> None:
        self._path, self._member, self._where = path, member, where
        with self._open() as stream:
            self.shape, self.dtype, self._columns_first = _head(stream, where)
        if len(self.shape) not in (3, 4) or 0 in self.shape:
            raise UserError(
                f"{where} has the shape {self.shape}; images are (N,H,W), (N,H,W,C) or (N,C,H,W)"
            )
        self._planes_first = (
            len(self.shape) == 4 and self.shape[1] in (1, 3) and self.shape[3] not in (1, 3)
        )
        if len(self.shape) == 4 and not self._planes_first and self.shape[3] not in (1, 3):
            raise UserError(f"{where} has the shape {self.shape}; images have 1 or 3 channels")

    @property
    def n(self) -> int:
        """How many images."""
        return int(self.shape[0])

    def _open(self) -> IO[bytes]:
        if self._member is None:
            return self._path.open("rb")
        # The file within lives as long as its handle: zipfile counts its users.
        with zipfile.ZipFile(self._path) as archive:
            return archive.open(self._member)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All of it, in order; UserError where it is broken."""
        try:
            yield from self._blocks()
        except (*BROKEN, UserError) as error:
            raise (
                error if isinstance(error, UserError) else _unreadable(self._path, error)
            ) from None

    def _blocks(self) -> Iterator[NDArray[Any]]:
        each = int(np.prod(self.shape[1:]))
        step = max(1, AT_ONCE // (each * self.dtype.itemsize))
        if self._columns_first:
            yield self._turned()
            return
        with self._open() as stream:
            _head(stream, self._where)
            for start in range(0, self.n, step):
                count = min(step, self.n - start)
                raw = stream.read(count * each * self.dtype.itemsize)
                if len(raw) < count * each * self.dtype.itemsize:
                    raise UserError(f"{self._where} ends before its last image")
                yield np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])

    def _turned(self) -> NDArray[Any]:
        """All at once: stored in Fortran's order, no image stands in one piece."""
        with self._open() as stream:
            _head(stream, self._where)
            raw = stream.read()
        if len(raw) < int(np.prod(self.shape)) * self.dtype.itemsize:
            raise UserError(f"{self._where} ends before its last image")
        return np.ascontiguousarray(np.frombuffer(raw, self.dtype).reshape(self.shape, order="F"))

    def at(self, rows: Rows) -> Iterator[NDArray[Any]]:
        """The images at ascending `rows`, (H,W) or (H,W,C)."""
        if not len(rows):
            return
        start = 0
        for block in self.blocks():
            inside = rows[(rows >= start) & (rows < start + len(block))] - start
            for row in inside:
                one = block[row]
                yield one.transpose(1, 2, 0) if self._planes_first else one
            start += len(block)
            if start > rows[-1]:
                return


def _head(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """An .npy's shape, type, and whether it is in Fortran's order; the stream is left where its values begin."""
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{where} is no array: {' '.join(str(error).split())}") from None
    if dtype.hasobject:
        raise UserError(f"{where} holds Python objects; save numbers, or text of one type")
    return shape, dtype, fortran and len(shape) > 1


def _npz(config: Config) -> list[_Part]:
    """The file's parts; UserError where the arrays' names are others or their lengths differ."""
    path = config.path
    if not path.is_file():
        raise UserError(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with zipfile.ZipFile(path) as archive:
            have = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    names = [s for s in SPLITS if f"{s}_images" in have]
    if names and "images" in have:
        raise UserError(
            f"{path} holds both images and {names[0]}_images; which are meant? have {choices(have)}"
        )
    if names:
        if "train" not in names:
            raise UserError(f"{path} has no train_images; have {choices(have)}")
        return [_part(path, name, f"{name}_", have) for name in names]
    if "images" not in have:
        raise UserError(
            f"{path} holds neither images and labels nor train_images and train_labels; "
            f"have {choices(have)}"
        )
    return [_part(path, "", "", have)]


def _part(path: Path, name: str, prefix: str, have: list[str]) -> _Part:

    def column(what: str) -> NDArray[Any] | None:
        if f"{prefix}{what}" not in have:
            return None
        with zipfile.ZipFile(path) as archive, archive.open(f"{prefix}{what}.npy") as stream:
            return _values(stream, f"{prefix}{what} of {path}")

    images = _Images(path, f"{prefix}images.npy", f"{prefix}images of {path}")
    labels = column("labels")
    if labels is None:
        raise UserError(f"{path} has no {prefix}labels; have {choices(have)}")
    part = _Part(name, images, labels, column("groups"), column("weights"))
    _lengths(part, f"of {path}", prefix)
    return part


def _pair(config: Config) -> _Part:
    if config.labels is None:
        raise UserError(
            f"{config.path} is an array of images; source.labels names that of its labels"
        )
    for path in (config.path, config.labels):
        if not path.is_file():
            raise UserError(f"the file {path} does not exist")
    with config.labels.open("rb") as stream:
        labels = _values(stream, str(config.labels))
    part = _Part("", _Images(config.path, None, str(config.path)), labels)
    _lengths(part, f"in {config.path}", "")
    return part


def _values(stream: IO[bytes], where: str) -> NDArray[Any]:
    """A small array as a whole; (N,1) becomes (N,)."""
    shape, dtype, columns_first = _head(stream, where)
    count = int(np.prod(shape))
    raw = stream.read(count * dtype.itemsize)
    if len(raw) < count * dtype.itemsize:
        raise UserError(f"{where} ends before its last value")
    found = np.frombuffer(raw, dtype).reshape(shape, order="F" if columns_first else "C")
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise UserError(
            f"{where} has the shape {found.shape}; one label an image is (N,) or (N,1), and several "
            "labels of one image are no classes"
        )
    return found


def _lengths(part: _Part, where: str, prefix: str) -> None:
    for what in ("labels", "groups", "weights"):
        column = getattr(part, what)
        if column is not None and len(column) != part.images.n:
            raise UserError(
                f"{prefix}images {where} are {part.images.n}, {prefix}{what} {len(column)}: "
                "each image needs one"
            )


def _classes(labels: NDArray[Any], config: Config) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels → places in the class names; UserError for what is no label."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
            odd = labels[~np.isfinite(labels) | (labels != np.round(labels))][0]
            raise UserError(
                f"the labels of {config.path} hold {odd:g}; a label is a whole number or text"
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iubUS":
        raise UserError(
            f"the labels of {config.path} are of type {labels.dtype}, no numbers or text"
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "U" and (labels == "").any():
        row = int(np.flatnonzero(labels == "")[0])
        raise UserError(f"the labels of {config.path} miss that of image {row}")
    found, codes = np.unique(labels, return_inverse=True)
    if len(found) > MOST_CLASSES:
        raise UserError(
            f"the labels of {config.path} have {len(found):,} values; are they classes?"
        )
    if labels.dtype.kind == "U":
        one_spelling([str(name) for name in found], str(config.path))
    if config.names is None:
        return codes.astype(np.int64), tuple(str(name) for name in found)
    if labels.dtype.kind not in "iub" or found[0] < 0 or found[-1] >= len(config.names):
        raise UserError(
            f"source.names has {len(config.names)} names for the labels 0 to {len(config.names) - 1}; "
            f"{config.path} has {choices(found[[0, -1]])}"
        )
    return labels.astype(np.int64), config.names


def _column(
    parts: list[NDArray[Any] | None], ids: NDArray[np.object_]
) -> NDArray[np.object_] | None:
    """Groups as text; None unless every part has them."""
    if any(part is None for part in parts):
        return None
    found = np.concatenate(
        [np.asarray(p).astype(str).astype(object) for p in parts if p is not None]
    )
    return np.where(found == "", ids, found)  # without a group, a group of its own


def _weights(parts: list[NDArray[Any] | None], path: Path) -> NDArray[np.float64] | None:
    if any(part is None for part in parts):
        return None
    found = np.concatenate([np.asarray(p, np.float64) for p in parts if p is not None])
    if not (np.isfinite(found) & (found > 0)).all():
        raise UserError(f"weights of {path} must be numbers above 0")
    return found


def _window(array: _Images, name: str) -> tuple[Window | None, tuple[str, ...]]:
    """The window of floats or wide integers, where their values tell it beyond doubt, and a note.

    One for the whole array, so that no image is brighter than it was. None where a window has to say: values
    beyond 255, just above 1, or images of which some lie in 0 to 1 and some in 0 to 255.
    """
    if array.dtype == np.uint8 or array.dtype.kind not in "iuf":
        return None, ()
    lows, highs = [], []
    for block in array.blocks():
        flat = block.reshape(len(block), -1)
        sound = np.where(np.isfinite(flat), flat, 0) if block.dtype.kind == "f" else flat
        lows.append(sound.min(1))
        highs.append(sound.max(1))
    low, most = float(np.concatenate(lows).min()), np.concatenate(highs).astype(np.float64)
    high = float(most.max())
    if low < 0 or high > 255:
        return None, ()
    floats = array.dtype.kind == "f"
    top = 1.0 if floats and high <= 1 else 255.0
    lit = most[most > 0]
    if floats and high > 1 and (high <= DOUBTFUL or (lit <= 1).mean() > DIM):
        return None, ()
    told = f"{array.dtype} from {low:g} to {high:g}, taken as 0 to {top:g} where image.window says no other"
    return (0.0, top), (f"{name}: {told}" if name else told,)
