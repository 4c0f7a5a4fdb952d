"""Exact nearest neighbours and ball counts, computed in blocks: the full distance matrix is never in memory.

Sets are arrays (N,...) of uint8 or floats, each item flattened; distances are Euclidean, in the units of the
items. Pairs are ranked by |a|² + |b|² - 2ab, which loses digits for near copies; returned distances are
computed from differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Items = NDArray[Any]
# Sets excluded pairs of a block to inf: (squared distances, first row, first column).
Masked = Callable[[torch.Tensor, int, int], None]
QUERIES, POINTS = 1024, 8192  # block size: 32 MB of distances
SPARE = 8  # extra candidates, reranked by their exact distances
# Error bound of the product form of a squared distance, relative to the squared norms.
UNSURE = {torch.float32: 1e-5, torch.float64: 1e-13}
ROUNDED = 1e-5  # relative error bound of a squared distance from float32 differences
FEW = 0.01  # fraction of a block's pairs that may be recomputed one by one; above it the block is redone in float64


def _block(items: Items, start: int, stop: int, centre: torch.Tensor) -> torch.Tensor:
    """Items as floats (n,F), centred: products of numbers far from 0 lose digits."""
    part = torch.from_numpy(np.array(items[start:stop])).flatten(1)
    return part.to(centre.dtype) - centre


def _centre(items: Items) -> torch.Tensor:
    total = torch.zeros(int(np.prod(items.shape[1:])), dtype=torch.float64)
    for start in range(0, len(items), POINTS):
        # A copy: torch warns about read-only memory maps.
        total += torch.from_numpy(np.array(items[start : start + POINTS])).flatten(1).double().sum(0)
    return total / max(1, len(items))


class Block(NamedTuple):
    """Block of squared distances (n,m); query, point: its first row and column; squared norms of both sides."""

    query: int
    point: int
    squared: torch.Tensor
    of_queries: torch.Tensor
    of_points: torch.Tensor

    def unsure(self) -> torch.Tensor:
        """Error bound of each squared distance (n,m)."""
        return UNSURE[self.squared.dtype] * (self.of_queries[:, None] + self.of_points)


def _measured(queries: Items, points: Items, dtype: torch.dtype = torch.float32) -> Iterator[Block]:
    """Squared distances block by block, queries in the outer loop,
    with squared norms relative to the points' centre.
    """
    centre = _centre(points).to(dtype)
    for q in range(0, len(queries), QUERIES):
        a = _block(queries, q, q + QUERIES, centre)
        for p in range(0, len(points), POINTS):
            b = _block(points, p, p + POINTS, centre)
            # |a - b|² = |a|² + |b|² - 2 ab, in one product and without a second block.
            norm_a, norm_b = a.square().sum(1), b.square().sum(1)
            squared = torch.addmm(norm_b[None], a, b.T, alpha=-2)
            yield Block(q, p, squared.add_(norm_a[:, None]).clamp_(min=0), norm_a, norm_b)


def nearest(
    queries: Items, points: Items, k: int = 1, *, without_self: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances float32 (N,k), ascending, and rows int64 (N,k) of the k nearest points of each query.

    without_self: queries and points are the same set, and an item is not its own neighbour.
    Raises ValueError if there are fewer than k points.
    """
    have = len(points) - int(without_self)
    if have < k:
        raise ValueError(f"cannot find {k} neighbours among {have} points")

    def exclude_self(squared: torch.Tensor, q: int, p: int) -> None:
        same = torch.arange(max(q, p), max(q, p, min(q + squared.shape[0], p + squared.shape[1])))
        squared[same - q, same - p] = torch.inf

    distances, order = _ranked(queries, points, min(k + SPARE, have), exclude_self if without_self else None)
    return distances[:, :k].copy(), order[:, :k].copy()


def nearest_earlier(items: Items) -> NDArray[np.float32]:
    """Distance of each item to its nearest earlier item, float32 (N,); inf for the first."""
    if len(items) == 0:
        return np.empty(0, np.float32)

    def exclude_later(squared: torch.Tensor, q: int, p: int) -> None:
        rows, columns = (torch.arange(n) for n in squared.shape)
        squared.masked_fill_((columns + p)[None] >= (rows + q)[:, None], torch.inf)

    return _ranked(items, items, min(1 + SPARE, len(items)), exclude_later)[0][:, 0].copy()


def _ranked(
    queries: Items, points: Items, k: int, blank: Masked | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Ascending distances and rows of k candidates of each query; inf for excluded ones.
    blank excludes pairs in place.
    """
    best = torch.full((len(queries), k), torch.inf)
    rows = torch.zeros((len(queries), k), dtype=torch.int64)
    for q, p, squared, _, _ in _measured(queries, points):
        n, m = squared.shape
        if blank is not None:
            blank(squared, q, p)
        value, at = squared.topk(min(k, m), largest=False)
        both = torch.cat([best[q : q + n], value], 1)
        smallest, which = both.topk(k, largest=False)
        best[q : q + n] = smallest
        rows[q : q + n] = torch.cat([rows[q : q + n], at + p], 1).gather(1, which)
    return _exact(queries, points, rows.numpy(), best.isinf().numpy())


def _exact(
    queries: Items, points: Items, rows: NDArray[np.int64], none: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances from differences and the rows, both in ascending order of distance; inf where `none` is set."""
    n, k = rows.shape
    width = int(np.prod(queries.shape[1:]))
    distances = np.empty((n, k), np.float32)
    step = max(1, 2**24 // max(1, width * k))
    for start in range(0, n, step):
        chunk = rows[start : start + step]
        a = torch.from_numpy(np.array(queries[start : start + step]))
        b = torch.from_numpy(points[chunk.reshape(-1)])
        gap = b.view(len(chunk), k, -1).float() - a.view(len(chunk), 1, -1).float()
        distances[start : start + step] = gap.square().sum(2).sqrt().numpy()
    distances[none] = np.inf
    order = np.argsort(distances, 1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def radii(points: Items, k: int) -> NDArray[np.float32]:
    """Distance of each point to its k-th nearest other point, float32 (N,)."""
    return nearest(points, points, k, without_self=True)[0][:, -1]


def balls(queries: Items, points: Items, radius: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of points whose ball (of the point's radius) contains each query, int64 (N,)."""
    counts = np.zeros(len(queries), np.int64)
    limit = torch.from_numpy(np.asarray(radius, np.float32)).square()
    for block in _measured(queries, points):
        q, p, (n, m) = block.query, block.point, block.squared.shape
        limits = limit[p : p + m]
        inside, unsure = _inside(block, limits)
        if unsure.sum() > FEW * n * m:
            # The radii are small compared with the norms: float32 leaves too many pairs undecided.
            finer = next(_measured(queries[q : q + n], points[p : p + m], torch.float64))
            inside, unsure = _inside(finer, limits)
        a, b = unsure.nonzero(as_tuple=True)
        if len(a):
            inside[a, b] = _pairs(queries, points, a + q, b + p) <= limit[b + p]
        counts[q : q + n] += inside.sum(1).numpy()
    return counts


def _inside(block: Block, limit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of pairs within the limit, and of pairs too close to it to decide (to be recomputed from differences)."""
    gap = block.squared - limit
    inside = gap <= 0
    return inside, gap.abs_() <= block.unsure() + ROUNDED * limit


def _pairs(queries: Items, points: Items, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared distances of single pairs from differences, float32 (P,)."""
    width = int(np.prod(queries.shape[1:]))
    step = max(1, 2**24 // max(1, width))
    parts = [
        (
            torch.from_numpy(queries[i.numpy()]).flatten(1).float()
            - torch.from_numpy(points[j.numpy()]).flatten(1).float()
        )
        .square()
        .sum(1)
        for i, j in zip(a.split(step), b.split(step), strict=True)
    ]
    return torch.cat(parts)


def reach(queries: Items, points: Items, radius: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest ratio of a point's radius to its distance from each query, float32 (N,); 1 or more: inside a ball."""
    best = torch.zeros(len(queries))
    limit = torch.from_numpy(np.asarray(radius)).square()
    for q, p, squared, _, _ in _measured(queries, points):
        n, m = squared.shape
        largest = (limit[p : p + m] / squared.clamp_(min=1e-12)).amax(1)
        best[q : q + n] = torch.maximum(best[q : q + n], largest)
    ratio: NDArray[np.float32] = best.sqrt().numpy()
    return ratio
