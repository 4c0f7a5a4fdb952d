"""Align pairs of thumbnails by affine maps: a first guess by cross-correlation, then Gauss-Newton steps.

The steps are those of Lucas & Kanade (1981), with brightness and contrast left free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from torch.nn import functional as F

from augpipe.data.duplicates import FLAT

OVERLAP: Final = 0.55  # minimum fraction of a thumbnail that the other one covers
SCALES: Final = (0.65, 1.5)  # of an affine map, in any direction
ASPECT: Final = 1.3  # maximum ratio of its scales in two directions
LARGEST_STEP: Final = 0.2  # of any parameter; a thumbnail's side is 2
RIDGE: Final = 1e-3  # added to the diagonal of the normal equations
AT_ONCE: Final = 1024  # pairs aligned at a time
INSIDE: Final = 1 - 1e-4  # weight of a sample that no border pixel was mixed into


@dataclass(frozen=True)
class Match:
    """Pairs of rows of `a` and `b` that were placed on each other.

    query, other: int64 (P,). orientation: int64 (P,), 0 to 7, how `a` is turned (see `oriented`). maps: float (P,2,3),
    `a` at x corresponds to `b` at M x + t, with coordinates from -1 to 1. value: float (P,), the correlation where both
    overlap, 0 if they overlap too little.
    """

    query: torch.Tensor
    other: torch.Tensor
    orientation: torch.Tensor
    maps: torch.Tensor
    value: torch.Tensor

    @classmethod
    def concatenate(cls, matches: Iterable[Match]) -> Match:
        """All matches in one; at least one is needed."""
        parts = list(matches)
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, rows: torch.Tensor) -> Match:
        """The matches at `rows`."""
        return Match(*(getattr(self, field.name)[rows] for field in fields(self)))

    def blocks(self) -> Iterator[Match]:
        """The matches in blocks of AT_ONCE; one empty block if there are none."""
        return (self.take(rows) for rows in torch.arange(len(self.query)).split(AT_ONCE))

    def above(self, least: float) -> Match:
        """The matches of at least this value."""
        return self.take(self.value >= least)

    def best_of_pairs(self) -> Match:
        """The match of highest value for each pair of images."""
        order = np.lexsort((-self.value.numpy(), self.other.numpy(), self.query.numpy()))
        key = np.stack([self.query.numpy(), self.other.numpy()], 1)[order]
        first = np.ones(len(key), bool)
        first[1:] = (key[1:] != key[:-1]).any(1)
        return self.take(torch.from_numpy(order[first]))

    def best_of_queries(self, most: int) -> Match:
        """The `most` matches of highest value for each query."""
        order = np.lexsort((-self.value.numpy(), self.query.numpy()))
        query = self.query.numpy()[order]
        _, start, counts = np.unique(query, return_index=True, return_counts=True)
        rank = np.arange(len(query)) - np.repeat(start, counts)
        return self.take(torch.from_numpy(order[rank < most]))


def oriented(images: torch.Tensor, orientation: torch.Tensor) -> torch.Tensor:
    """float (P,S,S) in one of eight orientations each:
    bit 2 transposes, bit 1 flips rows, bit 0 columns, in that order.
    """
    result = images.clone()
    for value in orientation.unique().tolist():
        rows = orientation == value
        chosen = images[rows].transpose(1, 2) if value & 4 else images[rows]
        axes = [axis for axis, bit in ((1, 2), (2, 1)) if value & bit]
        result[rows] = chosen.flip(axes) if axes else chosen
    return result


def crop_matrix(size: int, side: float) -> torch.Tensor:
    """R, float (S,S): R x Rᵀ is the central part, of `side` times the side of x, enlarged to the whole linearly."""
    place = ((torch.arange(size) + 0.5) / size - 0.5) * side * size + size / 2 - 0.5
    return (1 - (place[:, None] - torch.arange(size)).abs()).clamp_min(0)


def cropped(thumbs: torch.Tensor, side: float) -> torch.Tensor:
    """The central part of `side` times each side of float (N,S,S), enlarged to the whole."""
    if side == 1.0:
        return thumbs
    resample = crop_matrix(thumbs.shape[1], side)
    enlarged: torch.Tensor = resample @ thumbs @ resample.T
    return enlarged


def warped(images: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """float (N,C,S,S) sampled at M x + t, with maps float (2,3) or (N,2,3); 0 outside."""
    if not len(images):
        return images
    size = [len(images), 1, *images.shape[2:]]
    grid = F.affine_grid(maps.expand(len(images), 2, 3), size, align_corners=False)
    moved: torch.Tensor = F.grid_sample(images, grid, align_corners=False)
    return moved


def shift_match(
    a: torch.Tensor, b: torch.Tensor, pairs: torch.Tensor, transposed: bool, crop_query: float, crop_other: float
) -> Match:
    """Place each pair by whole-pixel shifts of its (cropped) thumbnails, in the best of four orientations.

    a, b: uint8 (N,S,S) and (M,S,S). pairs: int64 (P,2), rows of `a` and `b`.
    """
    query, other = pairs.T
    first, second = a[query].float(), b[other].float()
    y = _spectrum(cropped(second, crop_other))
    side = a.shape[1]
    peaks = []
    for flips in range(4):
        orientation = torch.full_like(query, flips + 4 * transposed)
        x = _spectrum(cropped(oriented(first, orientation), crop_query))
        product = x.conj() * y
        # Half way to phase correlation: its peak is sharp, that of plain correlation is robust against noise.
        product = product / product.abs().sqrt().clamp_min(1e-6)
        peaks.append(torch.fft.irfft2(product, s=(side, side)).flatten(1).max(1))
    best = torch.stack([peak.values for peak in peaks]).argmax(0)
    place = torch.stack([peak.indices for peak in peaks])[best, torch.arange(len(best))]
    shift = torch.stack([place % side, place // side], 1)
    shift = torch.where(shift > side // 2, shift - side, shift)
    maps = torch.eye(2, 3).repeat(len(query), 1, 1)
    maps[:, :, 2] = shift * (2.0 / side)
    maps = maps * crop_other  # to the whole other image from its crop
    maps[:, :, :2] /= crop_query
    orientation = best + 4 * transposed
    value = correlation(oriented(first, orientation), second, maps)
    return Match(query, other, orientation, maps, value)


def _spectrum(thumbs: torch.Tensor) -> torch.Tensor:
    """Fourier transform of float (P,S,S), with mean 0 and windowed."""
    window = torch.hann_window(thumbs.shape[1] + 2, periodic=False)[1:-1].sqrt()
    centred = thumbs - thumbs.mean((1, 2), keepdim=True)
    spectrum: torch.Tensor = torch.fft.rfft2(centred * window[:, None] * window[None])
    return spectrum


def correlation(a: torch.Tensor, b: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """(P,): correlation where the mapped `b` covers `a`;
    0 if it covers too little, is uniform, or the map stretches too far.
    """
    both = warped(torch.stack([b, torch.ones_like(b)], 1), maps)
    inside = (both[:, 1] > INSIDE).float()
    x, spread_x = _normalised(a, inside)
    y, spread_y = _normalised(both[:, 0], inside)
    value = (x * y).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
    small, large = _scales(maps)
    good = (inside.mean((1, 2)) >= OVERLAP) & (large <= ASPECT * small)
    good &= (small >= SCALES[0]) & (large <= SCALES[1])
    good &= torch.minimum(spread_x, spread_y) >= FLAT
    return torch.where(good, value, 0.0)


def _scales(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The smaller and the larger singular value of each map's linear part, (P,) each."""
    (a, b), (c, d) = maps[:, :, :2].permute(1, 2, 0)
    even, odd = torch.hypot(a + d, c - b) / 2, torch.hypot(a - d, c + b) / 2
    return (even - odd).abs(), even + odd


def _normalised(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (P,S,S) with mean 0 and variance 1 where the weight is 1, and 0 elsewhere; its standard deviation (P,)."""
    total = weight.sum((1, 2), keepdim=True).clamp_min(1)
    x = (x - (x * weight).sum((1, 2), keepdim=True) / total) * weight
    spread = ((x * x).sum((1, 2), keepdim=True) / total).sqrt()
    return x / spread.clamp_min(1e-3), spread.flatten()


def refine(a: torch.Tensor, b: torch.Tensor, matches: Match, steps: int) -> Match:
    """The matches after Gauss-Newton steps on the squared difference of both images; a, b: uint8 (N,S,S), (M,S,S).

    Lucas & Kanade (1981), section 4: the six parameters of an affine map.
    """
    return Match.concatenate(_refined(a, b, block, steps) for block in matches.blocks())


def _refined(a: torch.Tensor, b: torch.Tensor, matches: Match, steps: int) -> Match:
    x, y = oriented(a[matches.query].float(), matches.orientation), b[matches.other].float()
    padded = F.pad(y[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    unit = y.shape[1] / 4  # half the difference of two neighbours, per unit of a coordinate from -1 to 1
    slope_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * unit
    slope_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * unit
    layers = torch.stack([y, slope_x, slope_y, torch.ones_like(y)], 1)
    maps = matches.maps
    for _ in range(steps):
        maps = maps + _step(x, layers, maps)
    before, value = correlation(x, y, matches.maps), correlation(x, y, maps)
    better = value > before
    return Match(
        matches.query,
        matches.other,
        matches.orientation,
        torch.where(better[:, None, None], maps, matches.maps),
        torch.where(better, value, before),
    )


def _step(a: torch.Tensor, layers: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Change of the maps (P,2,3). layers: `b`, its two slopes, and ones, float (P,4,S,S)."""
    side = a.shape[1]
    centres = (torch.arange(side) + 0.5) * (2 / side) - 1
    row, column = torch.meshgrid(centres, centres, indexing="ij")
    basis = torch.stack([column, row, torch.ones_like(row)])
    moved = warped(layers, maps)
    inside = (moved[:, 3] > INSIDE).float()
    target, _ = _normalised(a, inside)
    value, spread = _normalised(moved[:, 0], inside)
    slopes = moved[:, 1:3] / spread.clamp_min(FLAT)[:, None, None, None]
    jacobian = ((slopes[:, :, None] * basis).flatten(1, 2) * inside[:, None]).flatten(2)
    covered = inside.sum((1, 2)).clamp_min(1)[:, None, None]
    # Brightness and contrast are free: without the parts of the slopes that change only these.
    for free in (inside.flatten(1)[:, None], value.flatten(1)[:, None]):
        jacobian = jacobian - (jacobian @ free.transpose(1, 2)) / covered * free
    difference = (target - value).flatten(1)[:, :, None]
    normal = jacobian @ jacobian.transpose(1, 2) / covered + RIDGE * torch.eye(6)
    step = torch.linalg.solve(normal, jacobian @ difference / covered)
    change: torch.Tensor = step.view(-1, 2, 3).clamp(-LARGEST_STEP, LARGEST_STEP)
    return change
