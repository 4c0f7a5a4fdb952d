"""Find equal and nearly equal images: content hashes, perceptual hashes (DCT), and a check of pairs by pixels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# Maximum Hamming distance of hashes of near images; one of BITS + 1 chunks is then equal.
BITS: Final = 4
CORRELATION: Final = 0.995  # minimum correlation of thumbnails of the same picture
FLAT: Final = 2.0  # standard deviation of grey levels below which a thumbnail is uniform and correlation is undefined
TINT: Final = 12  # maximum difference of mean colours, in levels
AT_ONCE: Final = 2**15  # pairs compared at a time
Hashes = NDArray[np.uint64]


def perceptual_hashes(thumbs: NDArray[np.uint8]) -> Hashes:
    """uint8 (N,S,S) grey thumbnails → uint64 (N,): which of the 8x8 lowest DCT frequencies exceed their median.

    The DCT hash of Zauner (2010), section 3.2.1, with the constant term as one of the 64 bits.
    """
    low = dct(dct(thumbs.astype(np.float32), axis=1)[:, :8], axis=2)[:, :, :8].reshape(-1, 64)
    # Rounding errors of absent frequencies must not set bits.
    low[np.abs(low) < 1e-2 * thumbs.shape[1]] = 0.0
    bits = low > np.median(low, axis=1, keepdims=True)
    packed: Hashes = np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)
    return packed


def equal_groups(contents: NDArray[np.void]) -> NDArray[np.int64]:
    """16-byte content hashes (N,) → group index of each, int64 (N,), from 0; equal hashes share a group."""
    _, groups = np.unique(contents, return_inverse=True)
    return groups.astype(np.int64)


def near_groups(
    equal: NDArray[np.int64], hashes: Hashes, thumbs: NDArray[np.uint8], tints: NDArray[np.int16] | None = None
) -> NDArray[np.int64]:
    """Group equal and nearly equal images, transitively → group index of each, int64 (N,).

    equal: result of `equal_groups`. thumbs: uint8 (N,S,S). tints: int16 (N,2) mean colour differences; None if grey.
    Nearly equal: hashes differ in at most BITS bits, thumbnails correlate by at least CORRELATION (independent of
    brightness and contrast), and mean colours differ by at most TINT, or one of both is grey. Pairs already in one
    group are not compared again, so that many similar images cost little; memory is O(N).
    """
    _, representatives = np.unique(equal, return_index=True)
    unique_hashes = hashes[representatives]
    groups = np.arange(len(unique_hashes))
    for candidates in chain((_same_hash(unique_hashes),), _candidates(unique_hashes)):
        pairs = candidates
        if tints is not None and len(candidates):
            pairs = candidates[of_one_colour(*(tints[representatives[candidates[:, side]]] for side in (0, 1)))]
        groups = _join(groups, pairs, representatives, thumbs)
    _, numbers = np.unique(groups, return_inverse=True)
    result: NDArray[np.int64] = numbers.astype(np.int64)[equal]
    return result


def of_one_colour(tints: NDArray[np.int16], others: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Whether mean colours, int16 (P,2) twice, are alike or one of both has none, as a grey copy → bool (P,)."""
    alike = np.abs(tints - others).max(1) <= TINT
    coloured = (tints != 0).any(1) & (others != 0).any(1)
    result: NDArray[np.bool_] = np.asarray(alike | ~coloured, bool)
    return result


def _join(
    groups: NDArray[np.int64], pairs: NDArray[np.int64], rows: NDArray[np.int64], thumbs: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Merge the groups of pairs whose thumbnails are the same picture; returns new group indices."""
    for start in range(0, len(pairs), AT_ONCE):
        chunk = pairs[start : start + AT_ONCE]
        chunk = chunk[groups[chunk[:, 0]] != groups[chunk[:, 1]]]
        if not len(chunk):
            continue
        links = groups[chunk[same(thumbs[rows[chunk[:, 0]]], thumbs[rows[chunk[:, 1]]])]]
        n = len(groups)
        graph = coo_matrix((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n, n))
        groups = connected_components(graph, directed=False)[1].astype(np.int64)[groups]
    return groups


def _same_hash(hashes: Hashes) -> NDArray[np.int64]:
    """Pairs (P,2) of each row and the first row with the same hash."""
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = np.stack([first[place], np.arange(len(hashes))], axis=1)
    others: NDArray[np.int64] = pairs[pairs[:, 0] != pairs[:, 1]]
    return others


def _candidates(hashes: Hashes) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (P,2) of rows whose hashes differ in at most BITS bits, in blocks; pairs may repeat."""
    bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
    for first in range(BITS + 1):
        # Every (BITS + 1)-th bit: adjacent bits are correlated, so contiguous chunks would match too often.
        chunk_bits = bits[:, first :: BITS + 1]
        chunk = chunk_bits.astype(np.int32) @ (1 << np.arange(chunk_bits.shape[1], dtype=np.int32))
        order = np.argsort(chunk, kind="stable")
        chunk, ordered = chunk[order], hashes[order]
        pending: list[NDArray[np.int64]] = []
        n_pending = 0
        # Rows sorted by chunk: compare each with the one `step` places further while any such pair shares the chunk.
        active = np.arange(len(order) - 1)
        step = 1
        while len(active):
            active = active[active + step < len(order)]
            active = active[chunk[active] == chunk[active + step]]
            distance = np.bitwise_count(ordered[active] ^ ordered[active + step])
            near = active[distance <= BITS]
            if len(near):
                pending.append(np.stack([order[near], order[near + step]], axis=1))
                n_pending += len(near)
            if n_pending >= AT_ONCE:
                yield np.concatenate(pending)
                pending, n_pending = [], 0
            step += 1
        if pending:
            yield np.concatenate(pending)


def same(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """uint8 (P,S,S) twice → bool (P,): same picture up to brightness and contrast; uniform ones by grey level."""
    x = a.reshape(len(a), -1).astype(np.float32)
    y = b.reshape(len(b), -1).astype(np.float32)
    max_difference = np.abs(x - y).max(1)
    x -= x.mean(1, keepdims=True)
    y -= y.mean(1, keepdims=True)
    std_x, std_y = x.std(1), y.std(1)
    flat = (std_x < FLAT) | (std_y < FLAT)
    correlation = (x * y).mean(1) / np.maximum(std_x * std_y, 1e-6)
    equal: NDArray[np.bool_] = np.where(
        flat, (std_x < FLAT) & (std_y < FLAT) & (max_difference <= 2 * FLAT), correlation >= CORRELATION
    )
    return equal
