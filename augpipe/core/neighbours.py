"""Exact nearest neighbours and ball counts in blocks: no matrix of all pairs is ever in memory.

Sets are arrays (N,...) of uint8 or floats, each item flattened; distances are Euclidean, in the items' own
units. Pairs are ranked by the product form of the distance, which loses digits between near copies; the
distances that are handed out are taken from differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Items = NDArray[Any]
Masked = Callable[
    [torch.Tensor, int, int], None
]  # blanks pairs of a block that begins at row, column
QUERIES, POINTS = 1024, 8192  # of a block: 32 MB of distances
SPARE = 8  # candidates beyond those asked for, put in order by their exact distances
# Share of the squared lengths by which the product form of a squared distance may be wrong.
UNSURE = {torch.float32: 1e-5, torch.float64: 1e-13}
ROUNDED = 1e-5  # share of a squared distance by which float32 differences may be wrong
FEW = 0.01  # share of a block's pairs that are looked at one by one; of more, the product is taken in float64


def _block(items: Items, start: int, stop: int, centre: torch.Tensor) -> torch.Tensor:
    """Items as floats (n,F), moved by the centre: products of numbers far from 0 lose digits."""
    part = torch.from_numpy(np.array(items[start:stop])).flatten(1)
    return part.to(centre.dtype) - centre


def _centre(items: Items) -> torch.Tensor:
    total = torch.zeros(int(np.prod(items.shape[1:])), dtype=torch.float64)
    for start in range(0, len(items), POINTS):
        # A copy: what is memory-mapped cannot be written to, and torch warns of that.
        total += (
            torch.from_numpy(np.array(items[start : start + POINTS])).flatten(1).double().sum(0)
        )
    return total / max(1, len(items))


class Block(NamedTuple):
    """query, point: rows of the first ones. found: squared distances (n,m). unsure: by how much these may be wrong."""

    query: int
    point: int
    found: torch.Tensor
    of_queries: torch.Tensor
    of_points: torch.Tensor

    def unsure(self) -> torch.Tensor:
        """How far each squared distance may be off (n,m)."""
        return UNSURE[self.found.dtype] * (self.of_queries[:, None] + self.of_points)


def _measured(queries: Items, points: Items, dtype: torch.dtype = torch.float32) -> Iterator[Block]:
    """Squared distances block by block, queries outermost, with squared lengths about the points' centre."""
    centre = _centre(points).to(dtype)
    for q in range(0, len(queries), QUERIES):
        a = _block(queries, q, q + QUERIES, centre)
        for p in range(0, len(points), POINTS):
            b = _block(points, p, p + POINTS, centre)
            # |a - b|² = |a|² + |b|² - 2 ab, in one product and without a second block.
            of_a, of_b = a.square().sum(1), b.square().sum(1)
            found = torch.addmm(of_b[None], a, b.T, alpha=-2)
            yield Block(q, p, found.add_(of_a[:, None]).clamp_(min=0), of_a, of_b)


def nearest(
    queries: Items, points: Items, k: int = 1, *, without_self: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances float32 (N,k), ascending, and rows int64 (N,k) of the k nearest points of each query.

    without_self: queries and points are one set, and no item is its own neighbour.
    Raises ValueError where there are fewer than k points.
    """
    have = len(points) - int(without_self)
    if have < k:
        raise ValueError(f"{k} neighbours are asked of {have} points")

    def own(found: torch.Tensor, q: int, p: int) -> None:
        same = torch.arange(max(q, p), max(q, p, min(q + found.shape[0], p + found.shape[1])))
        found[same - q, same - p] = torch.inf

    distances, order = _ranked(queries, points, min(k + SPARE, have), own if without_self else None)
    return distances[:, :k].copy(), order[:, :k].copy()


def nearest_earlier(items: Items) -> NDArray[np.float32]:
    """Distance of each item to the nearest of those before it, float32 (N,); inf for the first."""
    if len(items) == 0:
        return np.empty(0, np.float32)

    def later(found: torch.Tensor, q: int, p: int) -> None:
        rows, columns = (torch.arange(n) for n in found.shape)
        found.masked_fill_((columns + p)[None] >= (rows + q)[:, None], torch.inf)

    return _ranked(items, items, min(1 + SPARE, len(items)), later)[0][:, 0].copy()


def _ranked(
    queries: Items, points: Items, k: int, blank: Masked | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances, ascending, and rows of k candidates of each query; inf for those that were blanked."""
    best = torch.full((len(queries), k), torch.inf)
    rows = torch.zeros((len(queries), k), dtype=torch.int64)
    for q, p, found, _, _ in _measured(queries, points):
        n, m = found.shape
        if blank is not None:
            blank(found, q, p)
        value, at = found.topk(min(k, m), largest=False)
        both = torch.cat([best[q : q + n], value], 1)
        kept, which = both.topk(k, largest=False)
        best[q : q + n] = kept
        rows[q : q + n] = torch.cat([rows[q : q + n], at + p], 1).gather(1, which)
    return _exact(queries, points, rows.numpy(), best.isinf().numpy())


def _exact(
    queries: Items, points: Items, rows: NDArray[np.int64], none: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same rows with distances from differences, in their order; inf where there is `none`."""
    n, k = rows.shape
    width = int(np.prod(queries.shape[1:]))
    distances = np.empty((n, k), np.float32)
    step = max(1, 2**24 // max(1, width * k))
    for start in range(0, n, step):
        own = rows[start : start + step]
        a = torch.from_numpy(np.array(queries[start : start + step]))
        b = torch.from_numpy(points[own.reshape(-1)])
        gap = b.view(len(own), k, -1).float() - a.view(len(own), 1, -1).float()
        distances[start : start + step] = gap.square().sum(2).sqrt().numpy()
    distances[none] = np.inf
    order = np.argsort(distances, 1, kind="stable")
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


def radii(points: Items, k: int) -> NDArray[np.float32]:
    """Distance of each point to its k-th nearest fellow, float32 (N,)."""
    return nearest(points, points, k, without_self=True)[0][:, -1]


def balls(queries: Items, points: Items, radius: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each query the number of points whose ball of that radius holds it, int64 (N,)."""
    held = np.zeros(len(queries), np.int64)
    limit = torch.from_numpy(np.asarray(radius, np.float32)).square()
    for block in _measured(queries, points):
        q, p, (n, m) = block.query, block.point, block.found.shape
        own = limit[p : p + m]
        inside, unsure = _inside(block, own)
        if unsure.sum() > FEW * n * m:
            # The radii are small beside the points' lengths: float32 leaves too many pairs open.
            finer = next(_measured(queries[q : q + n], points[p : p + m], torch.float64))
            inside, unsure = _inside(finer, own)
        a, b = unsure.nonzero(as_tuple=True)
        if len(a):
            inside[a, b] = _pairs(queries, points, a + q, b + p) <= limit[b + p]
        held[q : q + n] += inside.sum(1).numpy()
    return held


def _inside(block: Block, limit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs are within the limit, and which must be looked at one by one."""
    gap = block.found - limit
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
        ).square().sum(1)
        for i, j in zip(a.split(step), b.split(step), strict=True)
    ]  # fmt: skip
    return torch.cat(parts)


def reach(queries: Items, points: Items, radius: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each query the largest radius of a point over its distance to it, float32 (N,); 1 or more: inside."""
    best = torch.zeros(len(queries))
    limit = torch.from_numpy(np.asarray(radius)).square()
    for q, p, found, _, _ in _measured(queries, points):
        n, m = found.shape
        share = (limit[p : p + m] / found.clamp_(min=1e-12)).amax(1)
        best[q : q + n] = torch.maximum(best[q : q + n], share)
    found_reach: NDArray[np.float32] = best.sqrt().numpy()
    return found_reach
