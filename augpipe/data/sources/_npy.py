"""Arrays on disk, read in blocks, and the range of their values."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from augpipe.core.errors import UserError, cause, one_line, several
from augpipe.core.options import Window
from augpipe.data.sources._listing import Fetch, Rows
from augpipe.data.sources._pictures import Blob, WindowedPixels

AT_ONCE: Final = 2**24  # bytes of pixels read per block
DOUBTFUL: Final = 4.0  # a float maximum in (1, 4] is ambiguous: the range may be 0 to 1 with outliers, or 0 to 255
DIM: Final = 0.02  # fraction of images within 0 to 1 above which the range 0 to 255 is ambiguous
BROKEN: Final = (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, RuntimeError)


class Images:
    """An array of images on disk, read in blocks of at most AT_ONCE bytes (Fortran order: as a whole)."""

    def __init__(self, path: Path, member: str | None, where: str) -> None:
        self._path, self._member, self._where = path, member, where
        with self._open() as stream:
            self.shape, self.dtype, self._columns_first = head(stream, where)
        if len(self.shape) not in (3, 4) or 0 in self.shape:
            raise UserError(f"{where} has the shape {self.shape}; images are (N,H,W), (N,H,W,C) or (N,C,H,W)")
        self._planes_first = len(self.shape) == 4 and self.shape[1] in (1, 3) and self.shape[3] not in (1, 3)
        if len(self.shape) == 4 and not self._planes_first and self.shape[3] not in (1, 3):
            raise UserError(f"{where} has the shape {self.shape}; images have 1 or 3 channels{_advice(self.shape)}")

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.shape[0])

    def _open(self) -> IO[bytes]:
        if self._member is None:
            return self._path.open("rb")
        # zipfile keeps the archive open until the member is closed.
        with zipfile.ZipFile(self._path) as archive:
            return archive.open(self._member)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all images in order, in blocks; UserError if the file is broken."""
        try:
            yield from self._blocks()
        except (*BROKEN, UserError) as error:
            raise (error if isinstance(error, UserError) else unreadable(self._path, error)) from None

    def _blocks(self) -> Iterator[NDArray[Any]]:
        each = int(np.prod(self.shape[1:]))
        step = max(1, AT_ONCE // (each * self.dtype.itemsize))
        if self._columns_first:
            yield self._fortran_block()
            return
        with self._open() as stream:
            head(stream, self._where)
            for start in range(0, self.n, step):
                count = min(step, self.n - start)
                raw = stream.read(count * each * self.dtype.itemsize)
                if len(raw) < count * each * self.dtype.itemsize:
                    raise UserError(f"{self._where} ends before its last image")
                yield np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])

    def _fortran_block(self) -> NDArray[Any]:
        """Read everything at once: in Fortran order an image is not contiguous."""
        with self._open() as stream:
            head(stream, self._where)
            raw = stream.read()
        if len(raw) < int(np.prod(self.shape)) * self.dtype.itemsize:
            raise UserError(f"{self._where} ends before its last image")
        return np.ascontiguousarray(np.frombuffer(raw, self.dtype).reshape(self.shape, order="F"))

    def at(self, rows: Rows) -> Iterator[NDArray[Any]]:
        """Yield the images at ascending `rows`, each (H,W) or (H,W,C)."""
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


def fetching(arrays: Sequence[Images], names: Sequence[str]) -> tuple[Fetch, tuple[str, ...]]:
    """Function that reads the images at ascending rows of all arrays, one after the other, and notes of how they are
    read.

    names: of each array, for the notes.
    """
    starts = np.cumsum([0, *(array.n for array in arrays)])
    windows = [window_of(array, name) for array, name in zip(arrays, names, strict=True)]

    def fetch(rows: Rows) -> Iterator[Blob]:
        for array, start, end, (window, _) in zip(arrays, starts, starts[1:], windows, strict=False):
            local_rows = rows[(rows >= start) & (rows < end)] - start
            for pixels in array.at(local_rows):
                yield pixels if window is None else WindowedPixels(pixels, window)

    return fetch, tuple(note for _, notes in windows for note in notes)


def _advice(shape: tuple[int, ...]) -> str:
    """How to save images with transparency, the fourth channel."""
    if 4 not in (shape[1], shape[3]):
        return ""
    colours = "[..., :3]" if shape[3] == 4 else "[:, :3]"
    return f": save images{colours} to leave out the fourth channel, such as transparency"


def head(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype and Fortran order of an .npy; leaves the stream at the first value."""
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{where} is not an array: {one_line(error)}") from None
    if dtype.hasobject:
        raise UserError(f"{where} has Python objects; save numbers or text, such as labels.astype(str)")
    return shape, dtype, fortran and len(shape) > 1


def values_of(stream: IO[bytes], where: str, one_hot: bool = False) -> NDArray[Any]:
    """Read a whole array (N,) or (N,1) → (N,); UserError for other shapes.

    one_hot: (N,K) with a single 1 in each row → the column of that 1, (N,).
    """
    shape, dtype, columns_first = head(stream, where)
    column = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not column and not (one_hot and len(shape) == 2 and dtype.kind in "biuf"):
        raise UserError(f"{where} has the shape {shape}; it must be (N,) or (N,1): one value per image")
    count = int(np.prod(shape))
    raw = stream.read(count * dtype.itemsize)
    if len(raw) < count * dtype.itemsize:
        raise UserError(f"{where} ends before its last value")
    values = np.frombuffer(raw, dtype).reshape(shape, order="F" if columns_first else "C")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values if column else _columns_of_ones(values, where)


def _columns_of_ones(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    ones = values == 1
    wrong = np.flatnonzero((ones.sum(1) != 1) | ((values != 0) & ~ones).any(1))
    empty = np.flatnonzero(~(values != 0).any(1))
    if len(empty) and len(empty) == len(wrong):
        raise UserError(
            f"{where} has the shape {values.shape}, read as one-hot: {several(len(empty), 'row')} without a 1, the "
            f"first is row {empty[0]}; leave these images out, or give them a column, such as np.c_[labels, "
            "labels.sum(1) == 0]"
        )
    if len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"{where} has the shape {values.shape}, as one-hot labels have, but row {row} is not a single 1 among 0: "
            f"{values[row].tolist()[:20]}. Several labels per image are not supported: save one column of classes"
        )
    columns: NDArray[np.int64] = ones.argmax(1).astype(np.int64)
    return columns


def unreadable(path: Path, error: Exception) -> UserError:
    """UserError for a file that cannot be read."""
    return UserError(f"cannot read {path}: {cause(error)}")


def window_of(array: Images, name: str) -> tuple[Window | None, tuple[str, ...]]:
    """Infer the window of floats or wide integers from their range, with a note; None if it is ambiguous.

    One window for the whole array, so that relative brightness is preserved. Ambiguous: values below 0 or above 255,
    a maximum just above 1, or some images in 0 to 1 and some in 0 to 255.
    """
    if array.dtype == np.uint8 or array.dtype.kind not in "iuf":
        return None, ()
    lows, highs = [], []
    for block in array.blocks():
        flat = block.reshape(len(block), -1)
        finite = np.where(np.isfinite(flat), flat, 0) if block.dtype.kind == "f" else flat
        lows.append(finite.min(1))
        highs.append(finite.max(1))
    low, maxima = float(np.concatenate(lows).min()), np.concatenate(highs).astype(np.float64)
    high = float(maxima.max())
    if low < 0 or high > 255:
        return None, ()
    floats = array.dtype.kind == "f"
    top = 1.0 if floats and high <= 1 else 255.0
    non_black = maxima[maxima > 0]
    if floats and high > 1 and (high <= DOUBTFUL or (non_black <= 1).mean() > DIM):
        return None, ()
    note = f"{array.dtype} from {low:g} to {high:g}, read as 0 to {top:g} unless image.window is set"
    return (0.0, top), (f"{name}: {note}" if name else note,)
