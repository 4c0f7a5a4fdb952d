"""Find copies of images that were mirrored, rotated, shifted, cropped or resized, between two sets of thumbnails.

Candidates are the nearest neighbours by the magnitudes of the lowest Fourier frequencies, which a shift hardly changes
and a mirror image only exchanges. Each candidate is then aligned (see `alignment`) and its correlation measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from augpipe.data.alignment import Match, crop_matrix, refine, shift_match
from augpipe.data.duplicates import FLAT

SURE: Final = 0.995  # correlation of aligned thumbnails from which two are one picture
LIKELY: Final = 0.98  # the same, if no other image comes near:
RATIO: Final = 0.3  # largest 1 - correlation, relative to that of the second-best image (Lowe 2004, section 7.1)
FLOOR: Final = 0.94  # correlation that a second-best image is taken to have at least
FREQUENCIES: Final = 6  # lowest frequencies of the descriptor, in each direction
CROPS: Final = (0.9, 0.8)  # sides of central crops, of either image, whose neighbours are searched too
NEIGHBOURS: Final = 2  # per query and kind of descriptor
COARSE: Final = 0.8  # minimum correlation before the alignment
ROUGH: Final = (4, 4)  # candidates of a query that are aligned at half the resolution, and the steps that takes
FINE: Final = (2, 6)  # the same at the full one
COMPARISONS: Final = 10**9  # thumbnails compared with a query at a time, so that memory is bounded
Thumbs = NDArray[np.uint8]
Pairs = NDArray[np.int64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Kind:
    """A kind of copy that is searched: the query transposed, or a central crop of one of both images."""

    transposed: bool = False
    crop_query: float = 1.0
    crop_other: float = 1.0


KINDS: Final = (
    _Kind(),
    _Kind(transposed=True),
    *(_Kind(crop_query=side) for side in CROPS),
    *(_Kind(crop_other=side) for side in CROPS),
)


def transformed_copies(queries: Thumbs, others: Thumbs, every: bool = False) -> Pairs:
    """Pairs int64 (P,2) of a query and another image that are one picture up to an affine map and a mirror.

    queries, others: uint8 (N,S,S) and (M,S,S), grey. every: search again without the copies found so far, until there
    are no more; False: one or two copies of each query that has any. Uniform thumbnails are never copies.
    """
    rows, columns = _textured(queries), _textured(others)
    copies = [np.empty((0, 2), np.int64)]
    while len(rows) and len(columns):
        pairs = _search(queries, others, rows, columns)
        copies.append(pairs)
        if not every or not len(pairs):
            break
        rows, columns = np.unique(pairs[:, 0]), np.setdiff1d(columns, pairs[:, 1])
    return np.concatenate(copies)


def _search(queries: Thumbs, others: Thumbs, rows: Rows, columns: Rows) -> Pairs:
    """One search among the given rows of both."""
    a, b = (torch.from_numpy(chosen) for chosen in (queries[rows], others[columns]))
    halves = _halved(a), _halved(b)
    matches = Match.concatenate(_matches(*halves)).best_of_pairs().above(COARSE)
    matches = refine(*halves, matches.best_of_queries(ROUGH[0]), ROUGH[1]).above(FLOOR)
    matches = refine(a, b, matches.best_of_queries(FINE[0]), FINE[1])
    pairs = _accepted(matches, b)
    return np.stack([rows[pairs[:, 0]], columns[pairs[:, 1]]], axis=1)


def _textured(thumbs: Thumbs) -> NDArray[np.int64]:
    """Rows of thumbnails that are not uniform."""
    parts = np.array_split(thumbs, max(1, len(thumbs) // 2**14))
    return np.flatnonzero(np.concatenate([p.astype(np.float32).std((1, 2)) for p in parts]) >= FLAT)


def _halved(thumbs: torch.Tensor) -> torch.Tensor:
    """uint8 (N,S,S) → uint8 (N,S/2,S/2): means of 2x2 pixels."""
    means = [F.avg_pool2d(chunk.float(), 2).round().byte() for chunk in thumbs.split(2**13)]
    return torch.cat(means)


def _matches(a: torch.Tensor, b: torch.Tensor) -> list[Match]:
    """The candidates of every kind of copy, each roughly placed; a, b: uint8 (N,S,S)."""
    mean = _magnitudes(b).mean(0)
    matches = []
    for crop_other in (1.0, *CROPS):  # one at a time, as descriptors take most of the memory
        others = F.normalize(_magnitudes(b, crop_other) - mean, dim=1)
        for kind in KINDS:
            if kind.crop_other != crop_other:
                continue
            turned = a.transpose(1, 2) if kind.transposed else a
            queries = F.normalize(_magnitudes(turned, kind.crop_query) - mean, dim=1)
            matches += [
                shift_match(a, b, part, kind.transposed, kind.crop_query, crop_other)
                for part in _nearest(queries, others).split(2**12)
            ]
    return matches


def _magnitudes(thumbs: torch.Tensor, side: float = 1.0) -> torch.Tensor:
    """uint8 (N,S,S) → float (N,D): square roots of the magnitudes of low frequencies, equal for mirror images.

    side: of the central part that is described, relative to the whole.
    """
    size = thumbs.shape[1]
    window = torch.hann_window(size + 2, periodic=False)[1:-1].sqrt()
    resample = crop_matrix(size, side)
    angles = torch.arange(-FREQUENCIES, FREQUENCIES + 1)[:, None] * torch.arange(size) / size
    waves = torch.polar(window.expand_as(angles), -2 * torch.pi * angles)
    rows, columns = waves, waves[FREQUENCIES:]
    constant = rows.sum(1)[:, None] * columns.sum(1)  # the transform of a uniform image
    left, right = rows @ resample.to(rows.dtype), (columns @ resample.to(rows.dtype)).T
    box = resample.sum(0) / size
    values = []
    for pixels in thumbs.split(2**12):
        chunk = pixels.float()
        means = (chunk @ box) @ box
        transform = left @ torch.complex(chunk @ right.real, chunk @ right.imag)
        magnitude = (transform - means[:, None, None] * constant).abs().sqrt()
        # A mirror image exchanges the frequencies (u, v) and (-u, v).
        ahead, back = magnitude[:, FREQUENCIES:], magnitude[:, : FREQUENCIES + 1].flip(1)
        both = torch.stack([ahead + back, (ahead - back).abs()], 1).flatten(2)[:, :, 1:]
        values.append(both.flatten(1))
    return torch.cat(values)


def _nearest(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Pairs (P,2) of each row of `a` and its NEIGHBOURS nearest rows of `b`, by inner product."""
    k = min(NEIGHBOURS, len(b))
    rows = max(1, COMPARISONS // 16 // len(b))
    near = torch.cat([(chunk @ b.T).topk(k, dim=1).indices for chunk in a.split(rows)])
    return torch.stack([torch.arange(len(a)).repeat_interleave(k), near.flatten()], 1)


def _accepted(matches: Match, b: torch.Tensor) -> Pairs:
    """Pairs (P,2) of each query and its copies among its two best matches.

    The second-best match counts against the best one only if it is another picture, and not one more copy.
    """
    order = np.lexsort((-matches.value.numpy(), matches.query.numpy()))
    query, other = matches.query.numpy()[order], matches.other.numpy()[order]
    value = matches.value.numpy()[order]
    first = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else query
    has_second = np.r_[query[1:] == query[:-1], False][first] if len(query) else query.astype(bool)
    second = np.where(has_second, np.minimum(first + 1, len(query) - 1), first)
    rival = np.where(has_second, np.maximum(value[second], FLOOR), FLOOR)
    unclear = (value[first] >= LIKELY) & (1 - value[first] > RATIO * (1 - rival)) & has_second
    pairs = np.stack([other[first], other[second]], 1)
    same = np.zeros(len(first), bool)
    same[unclear] = _one_picture(b, pairs[unclear])
    likely = (1 - value[first] <= RATIO * (1 - rival)) | same
    good = (value[first] >= SURE) | ((value[first] >= LIKELY) & likely)
    also = good & has_second & ((value[second] >= SURE) | (same & (value[second] >= LIKELY)))
    rows = np.concatenate([first[good], second[also]])
    return np.stack([query[rows], other[rows]], 1)


def _one_picture(thumbs: torch.Tensor, pairs: Pairs) -> NDArray[np.bool_]:
    """Whether each pair (P,2) of rows can be aligned."""
    if not len(pairs):
        return np.zeros(0, bool)
    a, b = thumbs[pairs[:, 0]], thumbs[pairs[:, 1]]
    halves = _halved(a), _halved(b)
    each = torch.arange(len(pairs))[:, None].expand(-1, 2)
    placed = [shift_match(*halves, each, kind.transposed, kind.crop_query, kind.crop_other) for kind in KINDS]
    matches = refine(*halves, Match.concatenate(placed).best_of_pairs(), ROUGH[1])
    return (refine(a, b, matches, FINE[1]).value >= SURE).numpy()
