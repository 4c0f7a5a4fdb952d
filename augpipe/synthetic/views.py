"""Nearest pictures, where a picture that is shifted a little or mirrored is the same one.

Two pictures are compared as thumbnails. Their distance is the smallest over views of the query: the picture and its
mirror image, each shifted by a pixel in eight directions. A copy that a generator shifts by one pixel is otherwise as
far from its original as another picture of the class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

THUMBNAIL: Final = 16  # pixels a side in which pictures are compared
SHIFTED: Final = 32  # pixels a side, at most, in which they are shifted
SHIFTS: Final = (0, -1, 1)
AT_ONCE, POINTS = 256, 8192  # queries and points at a time
SPARE: Final = 8  # extra candidates, ranked again by their exact distances

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


def thumbnails(images: Images) -> Floats:
    """uint8 (N,C,H,W) → float32 (N,C,h,w), means over areas; h and w are at most THUMBNAIL."""
    parts = [
        _reduced(_reduced(images[start : start + AT_ONCE], SHIFTED), THUMBNAIL)
        for start in range(0, max(1, len(images)), AT_ONCE)
    ]
    return np.concatenate(parts)


def _reduced(images: NDArray[np.generic], side: int) -> Floats:
    """(N,C,H,W) → float32 (N,C,h,w) with h and w of at most `side`."""
    size = [min(side, n) for n in images.shape[2:]]
    pixels = torch.from_numpy(np.array(images, np.float32))
    if not len(images) or size == list(images.shape[2:]):
        return pixels.numpy()[:, :, : size[0], : size[1]]
    small: Floats = F.interpolate(pixels, size=size, mode="area").numpy()
    return small


def views(images: Images) -> Iterator[Floats]:
    """Thumbnails of the pictures as they are, mirrored, shifted, and both; border pixels are repeated."""
    small = _reduced(images, SHIFTED)
    height, width = small.shape[2:]
    padded = np.pad(small, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    for y in SHIFTS:
        for x in SHIFTS:
            view = _reduced(padded[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width], THUMBNAIL)
            yield view
            yield np.ascontiguousarray(view[..., ::-1])


def nearest(queries: Images, points: Images, k: int = 1) -> tuple[Floats, NDArray[np.int64]]:
    """As `neighbours.nearest`, of uint8 (N,C,H,W): the k nearest points by the nearest of all views of a query."""
    small = torch.from_numpy(thumbnails(points)).flatten(1)
    parts = [_nearest(queries[start : start + AT_ONCE], small, k) for start in range(0, max(1, len(queries)), AT_ONCE)]
    distances, rows = zip(*parts, strict=True)
    return torch.cat(distances).numpy(), torch.cat(rows).numpy()


def _nearest(queries: Images, points: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """points: thumbnails, float32 (M,F). Pairs are ranked by |a|² + |b|² - 2ab, and measured by differences."""
    of_views = [torch.from_numpy(view).flatten(1) for view in views(queries)]
    n, candidates, centre = len(queries), min(k + SPARE, len(points)), points.mean(0)
    best = torch.full((n, candidates), torch.inf)
    rows, view_of = (torch.zeros((n, candidates), dtype=torch.int64) for _ in range(2))
    for start in range(0, len(points), POINTS):
        part = points[start : start + POINTS] - centre
        norms = part.square().sum(1)
        squared = torch.full((n, len(part)), torch.inf)
        which = torch.zeros((n, len(part)), dtype=torch.int64)
        for number, view in enumerate(of_views):
            a = view - centre
            other = torch.addmm(norms[None], a, part.T, alpha=-2).add_(a.square().sum(1)[:, None])
            which.masked_fill_(other < squared, number)
            torch.minimum(squared, other, out=squared)
        value, at = squared.topk(min(candidates, len(part)), largest=False)
        best, order = torch.cat([best, value], 1).topk(candidates, largest=False)
        rows = torch.cat([rows, at + start], 1).gather(1, order)
        view_of = torch.cat([view_of, which.gather(1, at)], 1).gather(1, order)
    nearest_view = torch.stack(of_views)[view_of, torch.arange(n)[:, None]]
    distance, order = (points[rows] - nearest_view).square().sum(2).sqrt().sort(dim=1, stable=True)
    return distance[:, :k].clone(), rows.gather(1, order)[:, :k].clone()
