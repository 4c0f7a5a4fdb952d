"""Image sets as folders: pixels in one memory-mapped file, or as rows of another set's; labels, classes, provenance.

`images.npy` uint8 (N,C,H,W) and `digests.npy` uint64 (N,2), or instead of both `rows.json`: the SHA-256 of the set in
the next folder that holds them, and which of its rows they are, `start` up to but without `stop`. `labels.npy` int64
(N,), `classes.json`, `table.parquet`.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.files import check_space, write_json
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, pixel_digests
from augpipe.core.refs import ROWS, Rows, pixels_of, rows_of

PIXELS: Final = "images.npy"
DIGESTS: Final = "digests.npy"
AT_ONCE: Final = 4096  # images whose pages are in memory at a time


@contextmanager
def image_writer(folder: Path, n: int, spec: ImageSpec) -> Iterator[NDArray[np.uint8]]:
    """A writable memory map uint8 (n,C,H,W) in a new `folder`; flushed when the block ends.

    UserError if the images need more space than the disk has free.
    """
    shape = (n, *spec.shape)
    check_space(folder, n, spec)
    folder.mkdir(parents=True)
    path = folder / PIXELS
    if n == 0:
        np.save(path, np.empty(shape, np.uint8))
        yield np.empty(shape, np.uint8)
        return
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # Allocate first: writing to a memory map on a full disk raises SIGBUS instead of an error.
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    yield rows
    rows.flush()


def release(images: NDArray[np.uint8]) -> None:
    """Give back the memory of the pages of a memory map; what was written stays in the system's cache of the file.

    Pages of a map that are read or written count as the process's memory until it is closed.
    """
    mapped = getattr(images, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def keep_rows(folder: Path, rows: NDArray[np.int64]) -> None:
    """Put the images that `image_writer` wrote in the order of `rows`, which are distinct, and drop all others.

    In place: a second file of a large set may not fit on the disk. Raises ValueError for a row that occurs twice.
    """
    images = _mapped(folder / PIXELS, "r+")
    others = np.setdiff1d(np.arange(len(images)), rows)
    if len(rows) + len(others) != len(images):
        raise ValueError("a row of an image set occurs twice")
    _permute(images, np.concatenate([rows, others]))
    if isinstance(images, np.memmap):
        images.flush()
    _cut(folder / PIXELS, len(rows))


def _permute(images: NDArray[np.uint8], source: NDArray[np.int64]) -> None:
    """images[i] = former images[source[i]], along the cycles of the permutation, with one image in memory."""
    placed = source == np.arange(len(source))
    for first in np.flatnonzero(~placed).tolist():
        if placed[first]:
            continue
        saved, at = images[first].copy(), first
        while (following := int(source[at])) != first:
            images[at] = images[following]
            placed[at], at = True, following
        images[at], placed[at] = saved, True


def _cut(path: Path, n: int) -> None:
    """Shorten an array's file to its first n rows; NumPy pads the header so that it can be written again in place."""
    with path.open("r+b") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        start = stream.tell()
        shape = (n, *shape[1:])
        stream.seek(0)
        descr = np.lib.format.dtype_to_descr(dtype)
        np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
        if stream.tell() != start:
            raise RuntimeError(f"the header of {path} changed its length")
        stream.truncate(start + int(np.prod(shape)) * dtype.itemsize)


def write_labels(folder: Path, labels: NDArray[np.int64], classes: tuple[str, ...], table: pd.DataFrame) -> None:
    """Complete a folder that holds its pixels: labels, classes, provenance, and a digest of each image."""
    images, digests = _mapped(folder / PIXELS), [np.empty((0, 2), np.uint64)]
    for start in range(0, len(images), AT_ONCE):
        digests.append(pixel_digests(images[start : start + AT_ONCE]))
        release(images)
    np.save(folder / DIGESTS, np.concatenate(digests))
    _write_labels(folder, labels, classes, table)


def write_rows(
    folder: Path, rows: Rows, labels: NDArray[np.int64], classes: tuple[str, ...], table: pd.DataFrame
) -> None:
    """A new folder whose pixels are rows of another set beside it."""
    folder.mkdir(parents=True)
    write_json(folder / ROWS, {"images": rows.images, "start": rows.start, "stop": rows.stop})
    _write_labels(folder, labels, classes, table)


def _write_labels(folder: Path, labels: NDArray[np.int64], classes: tuple[str, ...], table: pd.DataFrame) -> None:
    np.save(folder / "labels.npy", labels)
    write_json(folder / "classes.json", list(classes))
    table.to_parquet(folder / "table.parquet", index=False)


def load(folder: Path) -> ImageSet:
    """An image set, its images memory-mapped."""
    rows = rows_of(folder)
    place = pixels_of(folder, rows)
    part = slice(None) if rows is None else slice(rows.start, rows.stop)
    digests = place / DIGESTS  # sets that earlier versions stored have none
    return ImageSet(
        _mapped(place / PIXELS)[part],
        np.load(folder / "labels.npy", allow_pickle=False),
        json.loads((folder / "classes.json").read_text(encoding="utf-8")),
        pd.read_parquet(folder / "table.parquet"),
        np.load(digests, allow_pickle=False)[part] if digests.exists() else None,
    )


def _mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[np.uint8]:
    """An array's file, memory-mapped; read if it is empty, because an empty file cannot be mapped."""
    images: NDArray[np.uint8]
    try:
        images = np.load(path, mmap_mode=mode, allow_pickle=False)
    except ValueError:
        images = np.load(path, allow_pickle=False)
        if images.size:
            raise
    return images
