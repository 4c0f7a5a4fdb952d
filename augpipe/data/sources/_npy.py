"""Arrays on disk, read a block at a time, and what their values lie between."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.core.options import Window
from augpipe.data.sources._listing import Rows

AT_ONCE: Final = 2**24  # bytes of pixels read at a time
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


class Images:
    """An array of images on disk, read a block at a time; never more than AT_ONCE bytes in memory."""

    def __init__(self, path: Path, member: str | None, where: str) -> None:
        self._path, self._member, self._where = path, member, where
        with self._open() as stream:
            self.shape, self.dtype, self._columns_first = head(stream, where)
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
                error if isinstance(error, UserError) else unreadable(self._path, error)
            ) from None

    def _blocks(self) -> Iterator[NDArray[Any]]:
        each = int(np.prod(self.shape[1:]))
        step = max(1, AT_ONCE // (each * self.dtype.itemsize))
        if self._columns_first:
            yield self._turned()
            return
        with self._open() as stream:
            head(stream, self._where)
            for start in range(0, self.n, step):
                count = min(step, self.n - start)
                raw = stream.read(count * each * self.dtype.itemsize)
                if len(raw) < count * each * self.dtype.itemsize:
                    raise UserError(f"{self._where} ends before its last image")
                yield np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])

    def _turned(self) -> NDArray[Any]:
        """All at once: stored in Fortran's order, no image stands in one piece."""
        with self._open() as stream:
            head(stream, self._where)
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


def head(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
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


def values_of(stream: IO[bytes], where: str) -> NDArray[Any]:
    """A small array as a whole; (N,1) becomes (N,)."""
    shape, dtype, columns_first = head(stream, where)
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


def unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"cannot read {path}: {' '.join(str(error).split()) or type(error).__name__}")


def window_of(array: Images, name: str) -> tuple[Window | None, tuple[str, ...]]:
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
