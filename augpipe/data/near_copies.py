"""Count near copies across train, val and test: images that are not equal, but one picture all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from augpipe.core.errors import several
from augpipe.data.copies import transformed_copies
from augpipe.data.duplicates import equal_groups, near_groups
from augpipe.data.facts import Facts
from augpipe.data.sources._listing import evenly

# Test images that are searched for transformed copies if they are only counted.
SEARCHED: Final = 500
# Pixels; smaller pictures fit too many others when they are shifted and stretched.
LEAST_SIDE: Final = 16
EARLIER: Final = {"val": ("train",), "test": ("train", "val")}
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NearCopies:
    """Near copies of val and test images in an earlier part of the split.

    groups: int64 (N,), images of one group are equal or nearly equal. count: part of the split → number of its images
    with a near copy, but no equal one, in an earlier part. fraction: the same as an estimated fraction of its images.
    searched: number of images that were searched for mirrored, shifted and cropped copies; only in test, and at most
    SEARCHED, if copies are counted and not removed. small: number of images that would have been searched, but have
    fewer than LEAST_SIDE pixels a side.
    """

    groups: NDArray[np.int64]
    count: Mapping[str, int]
    fraction: Mapping[str, float]
    searched: Mapping[str, int]
    small: Mapping[str, int]

    def small_notes(self, rows: Mapping[str, Rows]) -> tuple[str, ...]:
        """A line on the images of val and test that are too small to be searched, if there are any."""
        return tuple(
            f"{n:,} of {len(rows[side]):,} images of {side} are below {LEAST_SIDE} px and not searched for mirrored, "
            "shifted and cropped copies in the other splits"
            for side, n in self.small.items()
            if n
        )

    def notes(self, rows: Mapping[str, Rows]) -> tuple[str, ...]:
        """A line for val and test each, if any of their images has a near copy."""
        lines = []
        for side, earlier in EARLIER.items():
            if not self.count[side]:
                continue
            n, searched = len(rows[side]), self.searched[side]
            sample = f", estimated from {searched:,} of {n:,}" if 0 < searched < n else ""
            lines.append(
                f"{several(self.count[side], 'image')} of {side} nearly equal to one in {' or '.join(earlier)} "
                f"({100 * self.fraction[side]:.1f}% of {side}{sample}): `augpipe inspect` on the run's experiment.yaml "
                "shows some, duplicates: near removes them from train and val"
            )
        return tuple(lines)


def near_copies(facts: Facts, rows: Mapping[str, Rows], complete: bool = False) -> NearCopies:
    """Find images of val and test with a near copy in an earlier part.

    rows: of train, val and test. complete: find every mirrored, shifted and cropped copy of every image of val and
    test, which takes some milliseconds each; False: search at most SEARCHED images of test.
    """
    equal = equal_groups(facts.content)
    near = near_groups(equal, facts.hashes, facts.small_thumbs(), facts.tints)
    large = np.minimum(facts.width, facts.height) >= LEAST_SIDE
    pairs, count, fraction, searched, small = [], {}, {}, {}, {}
    for side, earlier in EARLIER.items():
        others = np.concatenate([rows[name] for name in earlier])
        queries = _queries(rows[side][large[rows[side]]], side, complete)
        copies = transformed_copies(facts.thumbs[queries], facts.thumbs[others], every=complete)
        copies = facts.of_one_colour(np.stack([queries[copies[:, 0]], others[copies[:, 1]]], 1))
        pairs.append(copies)
        searched[side] = len(queries)
        small[side] = int((~large[rows[side]]).sum()) if complete or side == "test" else 0
        unequal = rows[side][~np.isin(equal[rows[side]], equal[others])]
        by_hash = unequal[np.isin(near[unequal], near[others])]
        by_alignment = np.setdiff1d(np.intersect1d(copies[:, 0], unequal), by_hash)
        count[side] = len(by_hash) + len(by_alignment)
        total = max(1, len(rows[side]))
        # Only images that were searched can have been found by alignment.
        fraction[side] = len(by_hash) / total + len(by_alignment) / max(1, len(queries))
    return NearCopies(joined(near, np.concatenate(pairs)), count, fraction, searched, small)


def _queries(rows: Rows, side: str, complete: bool) -> Rows:
    """The images that are searched for transformed copies."""
    if complete:
        return rows
    if side != "test":
        return rows[:0]
    sample: Rows = rows[evenly(len(rows), SEARCHED)]
    return sample


def joined(groups: NDArray[np.int64], pairs: Rows) -> NDArray[np.int64]:
    """Groups (N,) with those merged that a pair (P,2) of rows connects."""
    n = int(groups.max()) + 1 if len(groups) else 0
    links = groups[pairs]
    graph = coo_matrix((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n, n))
    merged: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)[groups]
    return merged
