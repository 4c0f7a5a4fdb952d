"""Image sets: uint8 (N,C,H,W) with labels, class names and where each image came from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from augpipe.core.counts import counts_of
from augpipe.core.image_spec import ImageSpec

REAL, SYNTHETIC = "real", "synthetic"
PROVENANCE = ("id", "group", "origin", "parent", "source", "weight")


def provenance(
    ids: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    origin: str = REAL,
    parents: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """Table with a row an image and the columns of PROVENANCE, all text but for the weight.

    group: unit that must stay within one subset of a split (patient, identity); an image's own id by default.
    parent: id of the real image a synthetic one was made from, "" if there is none.
    weight: how often an image is drawn, against the others of its class; 1 by default.
    """
    n = len(ids)
    return pd.DataFrame(
        {
            "id": np.asarray(ids, dtype=object),
            "group": np.asarray(ids if groups is None else groups, dtype=object),
            "origin": np.full(n, origin, dtype=object),
            "parent": np.asarray([""] * n if parents is None else parents, dtype=object),
            "source": np.asarray([""] * n if sources is None else sources, dtype=object),
            "weight": np.ones(n) if weights is None else np.asarray(weights, np.float64),
        }
    )


class ImageSet(Dataset[tuple[torch.Tensor, int]]):
    """images uint8 (N,C,H,W), memory-mapped if loaded from a store; labels int64 (N,).

    classes: name of each label. table: provenance, a row an image (see `provenance`). digests: see `pixel_digests`;
    computed when they are first read, if not given.
    Raises ValueError if the arrays do not match each other.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: Sequence[str],
        table: pd.DataFrame,
        digests: NDArray[np.uint64] | None = None,
    ) -> None:
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(f"images must be uint8 (N,C,H,W), got {images.dtype} {images.shape}")
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(images)},), got {labels.dtype} {labels.shape}")
        if len(table) != len(images) or tuple(table.columns) != PROVENANCE:
            raise ValueError(
                f"provenance must have {len(images)} rows of {', '.join(PROVENANCE)}; "
                f"got {len(table)} of {', '.join(table.columns)}"
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
            raise ValueError(f"labels must lie in 0..{len(classes) - 1}, got up to {labels.max()}")
        self.images = images
        self.labels = labels
        self.classes = tuple(classes)
        self.table = table
        self._digests = digests

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.array(self.images[index])), int(self.labels[index])

    @property
    def spec(self) -> ImageSpec:
        """Shape of one image."""
        return ImageSpec(size=self.images.shape[2], channels=self.images.shape[1])

    @property
    def digests(self) -> NDArray[np.uint64]:
        """The digest of each image's pixels, (N,2)."""
        if self._digests is None:
            self._digests = pixel_digests(self.images)
        return self._digests

    def counts(self, rows: NDArray[np.int64] | None = None) -> dict[int, int]:
        """Images of each class, zeros included; only of `rows`, if given."""
        labels = self.labels if rows is None else self.labels[rows]
        return counts_of(labels, len(self.classes))

    def take(self, rows: NDArray[np.int64]) -> ImageSet:
        """The images at `rows`, in that order (a copy in memory)."""
        return ImageSet(
            self.images[rows], self.labels[rows], self.classes, self.table.iloc[rows].reset_index(drop=True)
        )

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 (N,C,H,W) and labels int64 (N,) as tensors in memory."""
        return torch.from_numpy(np.array(self.images)), torch.from_numpy(np.array(self.labels))


def pixel_digests(images: NDArray[np.uint8], words: int = 2) -> NDArray[np.uint64]:
    """BLAKE2b of the pixels of each of N images, (N, words) of 64 bits each."""
    size = 8 * words
    # As plain rows of bytes: each item of a memory map would be a memory map, which takes as long as its digest.
    rows: Any = np.ascontiguousarray(images.view(np.ndarray)).reshape(len(images), math.prod(images.shape[1:]))
    digests = [hashlib.blake2b(row, digest_size=size).digest() for row in rows]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64).reshape(-1, words)


@dataclass(frozen=True)
class Splits:
    """Train (thinned if configured), val (for selection) and test (scored once)."""

    train: ImageSet
    val: ImageSet
    test: ImageSet


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N,C,H,W) in [0,255] → float32 in [-1,1]."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """float (N,C,H,W) in [-1,1], clipped → uint8 in [0,255], rounded."""
    return images.detach().float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def grid(images: NDArray[np.uint8], columns: int, gap: int = 1, scale: int = 1) -> Image.Image:
    """uint8 (N,C,H,W), row by row → picture with `columns` images per row, `gap` px apart, enlarged `scale` times."""
    n, c, h, w = images.shape
    rows = max(1, -(-n // columns))
    sheet = np.full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), 255, np.uint8)
    for at in range(n):
        y, x = (at // columns) * (h + gap), (at % columns) * (w + gap)
        sheet[:, y : y + h, x : x + w] = images[at]
    picture = Image.fromarray(sheet[0] if c == 1 else sheet.transpose(1, 2, 0))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
