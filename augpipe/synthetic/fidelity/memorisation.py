"""Tests whether train images were memorised: synthetic images against train and against held-out real ones.

Train and held-out images of a class come from the same distribution. For a generator that learned only what they share,
they are exchangeable: it makes no difference which of them are train images. `memorisation.p` is the p-value of that
permutation test within classes. Its statistic is the mean, over synthetic images, of the log ratio of the distance to the
nearest held-out image to that to the nearest train image, so that a few near copies weigh as much as a general attraction.
The test is valid for any sizes of train and held-out set, and for a generator that draws only typical images, which are
nearer to *any* real image than real images are to each other. The comparison of Meehan et al. (2020), distances of
synthetic and of held-out images to their nearest train image, takes such a generator for a copier; it is reported as
`memorisation.nearer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from augpipe.core import neighbours
from augpipe.synthetic.fidelity.base import Compared, RefusedError, metric

PERMUTATIONS: Final = 999
AT_ONCE: Final = 2**20  # candidates of all permutations that are evaluated together
CANDIDATES: Final = (
    8,
    64,
)  # bounds on the number of nearest real images that a permutation considers
MISSED: Final = 1e-4  # tolerated probability that all candidates are of one kind
# Fraction of held-out images that are as near to train as a near copy.
NEAR: Final = 0.01
FEWEST: Final = (
    round(1 / NEAR) - 1
)  # least number of held-out images whose minimum estimates that quantile
TINY: Final = 1e-6
COPIED: Final = 1e-3  # fraction of the median distance below which two images are the same
HELD_OUT: Final = 10  # images of each set that the test needs
# Images per set and class in the permutation test and for near copies.
MOST: Final = 2000

Floats = NDArray[np.float32]
Items = NDArray[np.generic]


@dataclass(frozen=True)
class Space:
    """Synthetic, train and held-out images of one class as vectors in one space (features or pixels)."""

    synthetic: Items
    train: Items
    held_out: Items


def strata(c: Compared) -> list[dict[str, Space]]:
    """Each class in features and in pixels, without the classes that lack synthetic, train or held-out images.

    Train and held-out images have the same distribution only within a class: if train is thinned, its class frequencies
    differ from those of val, and nearness to a class would pass for nearness to train.
    """
    if c.train is None:
        raise RefusedError("needs the training set")
    classes = []
    for label in np.unique(c.synthetic.labels).tolist():
        synthetic, train, held_out = (s.of(label) for s in (c.synthetic, c.train, c.real))
        if min(len(train), len(held_out)) > 0:
            classes.append(
                {
                    "features": Space(synthetic.vectors, train.vectors, held_out.vectors),
                    "pixels": Space(synthetic.images, train.images, held_out.images),
                }
            )
    if not classes:
        raise RefusedError("needs a class with synthetic, train and held-out images")
    return classes


@metric(
    "memorisation.p", "memorisation.p_features", "memorisation.p_pixels",
    "memorisation.nearer", "memorisation.nearer_p",
    "memorisation.membership_auc", "memorisation.membership_p",
    least=HELD_OUT, needs_train=True,
)  # fmt: skip
def memorisation(c: Compared) -> dict[str, float]:
    """One-sided p (small: memorised), Bonferroni-corrected over both spaces, and the figures behind it.

    nearer: probability that a synthetic image is nearer to train than a held-out one (features; .5: no difference).
    membership_auc: AUC of the distance to the nearest synthetic image as a score that separates train from held-out images
    (features; .5: chance). All compare images within a class and are combined over classes.
    """
    classes = strata(c)
    features = [spaces["features"] for spaces in classes]
    p_features, p_pixels = (
        exchange_test([spaces[name] for spaces in classes], c.rng(f"memorisation {name}"))
        for name in ("features", "pixels")
    )
    to_train = [(_nearest(s.synthetic, s.train), _nearest(s.held_out, s.train)) for s in features]
    to_synthetic = [
        (_nearest(s.train, s.synthetic), _nearest(s.held_out, s.synthetic)) for s in features
    ]
    nearer, nearer_p = _less(to_train)
    auc, auc_p = _less(to_synthetic)
    return {
        "memorisation.p": min(1.0, 2 * min(p_features, p_pixels)),
        "memorisation.p_features": p_features,
        "memorisation.p_pixels": p_pixels,
        "memorisation.nearer": nearer,
        "memorisation.nearer_p": nearer_p,
        "memorisation.membership_auc": auc,
        "memorisation.membership_p": auc_p,
    }


def _nearest(queries: Items, points: Items) -> Floats:
    return neighbours.nearest(queries, points)[0][:, 0]


def _less(samples: Sequence[tuple[Floats, ...]]) -> tuple[float, float]:
    """P(a < b) + ½ P(a = b) within classes, and the one-sided p of it being above ½.

    samples: (a, b) of each class. Mann-Whitney statistics per class, combined with the weights of van Elteren (1960).
    """
    below, pairs, excess, variance = 0.0, 0, 0.0, 0.0
    for a, b in samples:
        n, m = len(a), len(b)
        u = n * m - float(mannwhitneyu(a, b, method="asymptotic").statistic)
        below, pairs = below + u, pairs + n * m
        excess += (u - n * m / 2) / (n + m + 1)
        variance += n * m / 12 / (n + m + 1)
    return below / pairs, float(norm.sf(excess / np.sqrt(variance)))


@metric(
    "memorisation.near_copies", "memorisation.near_copies_features",
    least=HELD_OUT, least_real=FEWEST, needs_train=True,
)  # fmt: skip
def near_copies(c: Compared) -> dict[str, float]:
    """Fraction of synthetic images nearer to train than the nearest 1% of held-out images, in pixels and features.

    Distances of a class with fewer than FEWEST held-out images are divided by the median nearest-neighbour distance of its
    train images, and compared with those of all classes together.
    """
    classes, rng = strata(c), c.rng("near copies")
    held_out = sum(len(spaces["pixels"].held_out) for spaces in classes)
    if held_out < FEWEST:
        raise RefusedError(f"needs {FEWEST} held-out images, has {held_out}")
    return {
        f"memorisation.{figure}": _nearer_than_real([spaces[space] for spaces in classes], rng)
        for figure, space in (("near_copies", "pixels"), ("near_copies_features", "features"))
    }


def _nearer_than_real(classes: Sequence[Space], rng: np.random.Generator) -> float:
    """Fraction of synthetic images nearer to train than the limit from held-out images."""
    few = any(len(space.held_out) < FEWEST for space in classes)
    near_in_class, pooled_distances, reference_distances = (
        list[NDArray[np.bool_]](),
        list[Floats](),
        list[Floats](),
    )
    for space in classes:
        subsamples = (_subsample(items, rng) for items in (space.synthetic, space.held_out))
        synthetic, held_out = (_nearest(items, space.train) for items in subsamples)
        unit = _train_gap(space, rng) if few else 1.0
        reference_distances.append(held_out / unit)
        if len(held_out) >= FEWEST:
            near_in_class.append(synthetic < _near_copy_limit(held_out))
        else:
            pooled_distances.append(synthetic / unit)
    near = [
        *near_in_class,
        *(
            synthetic < _near_copy_limit(np.concatenate(reference_distances))
            for synthetic in pooled_distances
        ),
    ]
    return float(np.concatenate(near).mean())


def _train_gap(space: Space, rng: np.random.Generator) -> float:
    """Median nearest-neighbour distance of train images; with a single one, of held-out images to it.

    The median of the held-out images would be the wrong unit: divided by their own median, few of them are ever near.
    """
    if len(space.train) > 1:
        gaps = neighbours.nearest(_subsample(space.train, rng), space.train, 2)[0][:, 1]
    else:
        gaps = _nearest(space.held_out, space.train)
    return max(float(np.median(gaps)), TINY)


def _near_copy_limit(values: Floats) -> float:
    """Order statistic below which another value of the same distribution falls with probability at most NEAR."""
    return max(TINY, float(np.sort(values)[int(NEAR * (len(values) + 1) + TINY) - 1]))


def _subsample(items: Items, rng: np.random.Generator) -> Items:
    """Random subset of at most MOST rows: enough to estimate a fraction, and pixel vectors are large."""
    return items if len(items) <= MOST else items[np.sort(rng.permutation(len(items))[:MOST])]


class _ClassTest:
    """One class of the permutation test: distances of its synthetic images to its real images."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        synthetic, self.members = _subsample(space.synthetic, rng), len(space.train)
        pool = np.concatenate([space.train, space.held_out])
        self.n, self.images = len(pool), len(synthetic)
        distance, self.row = neighbours.nearest(
            synthetic, pool, min(_candidates(self.members, self.n), self.n)
        )
        # The log distance of an exact copy must be finite: all distances below this floor count as equal.
        positive = distance[distance > 0]
        floor = COPIED * float(np.median(positive)) if len(positive) else 1.0
        self.logs = np.log(np.maximum(distance, floor))

    def membership(self) -> NDArray[np.bool_]:
        """Which of the real images are in train, (n,)."""
        return np.arange(self.n) < self.members

    def statistics(self, members: NDArray[np.bool_]) -> Floats:
        """The sum over this class's synthetic images for each of P memberships (P,n): (P,).

        An image's part is the log distance to its nearest non-member minus that to its nearest member. One of them is
        its nearest candidate, the other the first of another kind; if there is none, the last candidate stands in.
        """
        kinds = members[:, self.row]  # (P,N,k), nearest first
        other = kinds != kinds[:, :, :1]
        first = np.where(other.any(2), other.argmax(2), self.logs.shape[1] - 1)
        rows = np.arange(len(self.logs))
        further = self.logs[rows, first] - self.logs[:, 0]
        # Contiguous: NumPy then adds in the same order for any number of memberships.
        signed = np.ascontiguousarray(np.where(kinds[:, :, 0], further, -further))
        sums: Floats = signed.sum(1)
        return sums


def exchange_test(classes: Sequence[Space], rng: np.random.Generator) -> float:
    """p of the permutation test (see the module docstring); at least 1 / (PERMUTATIONS + 1)."""
    tests = [_ClassTest(space, rng) for space in classes]
    memberships = [test.membership() for test in tests]
    observed = sum(float(t.statistics(m[None])[0]) for t, m in zip(tests, memberships, strict=True))
    largest = max(sum(test.n for test in tests), *(test.row.size for test in tests))
    at_once = max(1, AT_ONCE // largest)
    extreme = 0
    for start in range(0, PERMUTATIONS, at_once):
        n = min(at_once, PERMUTATIONS - start)
        drawn = [np.empty((n, test.n), np.bool_) for test in tests]
        for row in range(n):
            for members, membership in zip(drawn, memberships, strict=True):
                members[row] = rng.permutation(membership)
        sums = np.zeros(n)
        for test, members in zip(tests, drawn, strict=True):
            sums += test.statistics(members)
        extreme += int(np.count_nonzero(sums >= observed))
    return (1 + extreme) / (PERMUTATIONS + 1)


def _candidates(members: int, n: int) -> int:
    """Number of candidates such that both kinds are among them, except with probability MISSED."""
    most_common = max(members, n - members) / n
    return int(np.clip(np.ceil(np.log(MISSED) / np.log(most_common)), *CANDIDATES))


def gallery(c: Compared, n: int) -> NDArray[np.int64]:
    """Rows (m,3) of synthetic, nearest train and nearest held-out image of the class in pixels.

    Most suspicious first: lowest ratio of the distance to train to the distance to held-out images. m is at most n.
    """
    if c.train is None:
        return np.empty((0, 3), np.int64)
    rows, suspicion = [np.empty((0, 3), np.int64)], [np.empty(0)]
    for label in np.unique(c.synthetic.labels).tolist():
        class_rows = [np.flatnonzero(s.labels == label) for s in (c.synthetic, c.train, c.real)]
        if min(len(rows_of_set) for rows_of_set in class_rows) == 0:
            continue
        synthetic, train, held_out = (
            s.images[rows_of_set]
            for s, rows_of_set in zip((c.synthetic, c.train, c.real), class_rows, strict=True)
        )
        near, at = neighbours.nearest(synthetic, train)
        far, far_at = neighbours.nearest(synthetic, held_out)
        rows.append(
            np.stack([class_rows[0], class_rows[1][at[:, 0]], class_rows[2][far_at[:, 0]]], 1)
        )
        suspicion.append((near[:, 0] + 1e-6) / (far[:, 0] + 1e-6))
    order = np.argsort(np.concatenate(suspicion), kind="stable")[:n]
    return np.concatenate(rows)[order]
