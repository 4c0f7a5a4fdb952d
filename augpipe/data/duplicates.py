"""Equal and nearly equal images: content hashes, perceptual hashes (DCT), and pairs confirmed by pixels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

BITS: Final = 4  # bits of 64 in which two hashes may differ: one of BITS + 1 parts is then the same
CORRELATION: Final = 0.995  # of two thumbnails, from which on they show the same picture
FLAT: Final = (
    2.0  # standard deviation of grey levels below which a thumbnail has nothing to correlate
)
TINT: Final = 12  # levels by which mean colours may differ
AT_ONCE: Final = 2**15  # pairs compared at a time
Hashes = NDArray[np.uint64]


def perceptual_hashes(thumbs: NDArray[np.uint8]) -> Hashes:
    """uint8 (N,S,S) grey thumbnails → uint64 (N,): signs of the 8x8 lowest frequencies about their median.

    The DCT hash of Zauner (2010), section 3.2.1; of the 64 the constant term counts as any other.
    """
    low = dct(dct(thumbs.astype(np.float32), axis=1)[:, :8], axis=2)[:, :, :8].reshape(-1, 64)
    # What rounding leaves of a frequency that is not there has no sign.
    low[np.abs(low) < 1e-2 * thumbs.shape[1]] = 0.0
    bits = low > np.median(low, axis=1, keepdims=True)
    packed: Hashes = np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)
    return packed


def equal_groups(contents: NDArray[np.void]) -> NDArray[np.int64]:
    """16-byte contents (N,) → for each the group of those that are equal, numbered from 0."""
    _, groups = np.unique(contents, return_inverse=True)
    return groups.astype(np.int64)


def near_groups(
    equal: NDArray[np.int64],
    hashes: Hashes,
    thumbs: NDArray[np.uint8],
    tints: NDArray[np.int16] | None = None,
) -> NDArray[np.int64]:
    """Groups of images that are equal or nearly so; a chain of near ones is one group.

    equal: `equal_groups`. thumbs: uint8 (N,S,S). tints: (N,2) mean colour differences, where there is colour. Near: hashes differ in at most BITS bits, and thumbnails
    correlate by at least CORRELATION, brightness and contrast apart, and colours are alike. Pairs that are joined already are not
    compared again, so that many alike cost little; memory is O(N).
    """
    _, one_of_each = np.unique(equal, return_index=True)
    own = hashes[one_of_each]
    joined = np.arange(len(own))
    for candidates in chain((_same_hash(own),), _candidates(own)):
        alike = candidates
        if tints is not None and len(candidates):
            a, b = (tints[one_of_each[candidates[:, side]]] for side in (0, 1))
            alike = candidates[np.abs(a - b).max(1) <= TINT]
        joined = _join(joined, alike, one_of_each, thumbs)
    _, numbered = np.unique(joined, return_inverse=True)
    whole: NDArray[np.int64] = numbered.astype(np.int64)[equal]
    return whole


def _join(
    joined: NDArray[np.int64],
    pairs: NDArray[np.int64],
    rows: NDArray[np.int64],
    thumbs: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Components after the pairs whose thumbnails show the same."""
    for start in range(0, len(pairs), AT_ONCE):
        block = pairs[start : start + AT_ONCE]
        block = block[joined[block[:, 0]] != joined[block[:, 1]]]
        if not len(block):
            continue
        links = joined[block[same(thumbs[rows[block[:, 0]]], thumbs[rows[block[:, 1]]])]]
        n = len(joined)
        graph = coo_matrix((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n, n))
        joined = connected_components(graph, directed=False)[1].astype(np.int64)[joined]
    return joined


def _same_hash(hashes: Hashes) -> NDArray[np.int64]:
    """Each row beside the first of its hash, (P,2)."""
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = np.stack([first[place], np.arange(len(hashes))], axis=1)
    others: NDArray[np.int64] = pairs[pairs[:, 0] != pairs[:, 1]]
    return others


def _candidates(hashes: Hashes) -> Iterator[NDArray[np.int64]]:
    """Pairs (P,2) of rows whose hashes differ in at most BITS bits, in blocks; a pair may come again."""
    bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
    for first in range(BITS + 1):
        # Every fifth bit: neighbours tell alike, and parts of them would be the same too often.
        own = bits[:, first :: BITS + 1]
        part = own.astype(np.int32) @ (1 << np.arange(own.shape[1], dtype=np.int32))
        order = np.argsort(part, kind="stable")
        part, ordered = part[order], hashes[order]
        waiting: list[NDArray[np.int64]] = []
        held = 0
        # Each row against the one k places on, for as long as any such pair shares the chunk.
        active = np.arange(len(order) - 1)
        step = 1
        while len(active):
            active = active[active + step < len(order)]
            active = active[part[active] == part[active + step]]
            apart = np.bitwise_count(ordered[active] ^ ordered[active + step])
            near = active[apart <= BITS]
            if len(near):
                waiting.append(np.stack([order[near], order[near + step]], axis=1))
                held += len(near)
            if held >= AT_ONCE:
                yield np.concatenate(waiting)
                waiting, held = [], 0
            step += 1
        if waiting:
            yield np.concatenate(waiting)


def same(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """uint8 (P,S,S) twice → whether each pair shows the same picture, brightness and contrast apart; even ones by their grey."""
    x = a.reshape(len(a), -1).astype(np.float32)
    y = b.reshape(len(b), -1).astype(np.float32)
    apart = np.abs(x - y).max(1)
    x -= x.mean(1, keepdims=True)
    y -= y.mean(1, keepdims=True)
    sx, sy = x.std(1), y.std(1)
    flat = (sx < FLAT) | (sy < FLAT)
    correlation = (x * y).mean(1) / np.maximum(sx * sy, 1e-6)
    alike: NDArray[np.bool_] = np.where(
        flat, (sx < FLAT) & (sy < FLAT) & (apart <= 2 * FLAT), correlation >= CORRELATION
    )
    return alike
