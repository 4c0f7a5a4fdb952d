"""Facts of each picture that was read: size, format, hashes and thumbnails, which duplicates are found by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.data.duplicates import of_one_colour, perceptual_hashes
from augpipe.data.sources._pictures import THUMB, Read

SMALL_THUMB: Final = 16  # side in pixels of thumbnails that are compared without alignment
CHUNK: Final = 512  # images hashed at a time


@dataclass(frozen=True)
class Facts:
    """Facts of each image that was read; every array has length N."""

    width: NDArray[np.int32]
    height: NDArray[np.int32]
    mode: NDArray[np.object_]
    format: NDArray[np.object_]
    content: NDArray[np.void]  # 16-byte hash of the pixels
    hashes: NDArray[np.uint64]  # perceptual
    thumbs: NDArray[np.uint8]  # (N,THUMB,THUMB) grey
    tints: NDArray[np.int16]  # (N,2) mean of red - green and of green - blue

    def at(self, rows: NDArray[np.int64]) -> Facts:
        """The facts of these rows."""
        return Facts(**{f.name: getattr(self, f.name)[rows] for f in fields(Facts)})

    def small_thumbs(self) -> NDArray[np.uint8]:
        """The thumbnails at SMALL_THUMB pixels, uint8 (N,SMALL_THUMB,SMALL_THUMB)."""
        factor = THUMB // SMALL_THUMB
        small = np.empty((len(self.thumbs), SMALL_THUMB, SMALL_THUMB), np.uint8)
        for start in range(0, len(small), CHUNK):
            block = self.thumbs[start : start + CHUNK].astype(np.float32)
            cells = block.reshape(-1, SMALL_THUMB, factor, SMALL_THUMB, factor)
            small[start : start + CHUNK] = np.round(cells.mean((2, 4)))
        return small

    def of_one_colour(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pairs (P,2) of rows whose mean colours are alike, or of which one is grey."""
        chosen: NDArray[np.int64] = pairs[of_one_colour(self.tints[pairs[:, 0]], self.tints[pairs[:, 1]])]
        return chosen


class FactsBuffer:
    """Collects facts of images in preallocated arrays."""

    def __init__(self, n: int) -> None:
        self.n = 0
        self.rows = np.empty(n, np.int64)
        self._size = np.empty((n, 2), np.int32)
        self._kind = np.empty(n, np.int16)
        self._kinds: dict[tuple[str, str], int] = {}
        self._content = np.empty(n, "V16")
        self._hashes = np.empty(n, np.uint64)
        self._thumbs = np.empty((n, THUMB, THUMB), np.uint8)
        self._tints = np.zeros((n, 2), np.int16)
        self._waiting: list[NDArray[np.uint8]] = []
        self.notes: Counter[str] = Counter()

    def add(self, row: int, picture: Read) -> None:
        """Add the facts of one image."""
        index = self.n
        self.rows[index] = row
        self._size[index] = picture.width, picture.height
        self._kind[index] = self._kinds.setdefault((picture.mode, picture.format), len(self._kinds))
        self._content[index] = picture.content
        if len(picture.image) == 3:
            red, green, blue = picture.image.reshape(3, -1).mean(1)
            self._tints[index] = round(red - green), round(green - blue)
        self._waiting.append(picture.thumb)
        self.notes.update(picture.notes)
        self.n += 1
        if len(self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            thumbs = np.stack(self._waiting)
            rows = slice(self.n - len(thumbs), self.n)
            self._hashes[rows] = perceptual_hashes(thumbs)
            self._thumbs[rows] = thumbs
            self._waiting = []

    def facts(self) -> Facts:
        """Facts of all images added so far."""
        self._flush()
        n, kinds = self.n, list(self._kinds)
        modes = np.array([mode for mode, _ in kinds], object)
        formats = np.array([of for _, of in kinds], object)
        kind = self._kind[:n]
        return Facts(
            self._size[:n, 0],
            self._size[:n, 1],
            modes[kind] if kinds else np.empty(0, object),
            formats[kind] if kinds else np.empty(0, object),
            self._content[:n],
            self._hashes[:n],
            self._thumbs[:n],
            self._tints[:n],
        )
