"""Distances between two sets of features: KID, FID, sliced Wasserstein."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity.base import Compared, metric

SUBSETS: Final = 50  # random subsets for the spread of KID
SUBSET: Final = 1000  # images per subset: at most this, and at most half of a set
BLOCK: Final = 2048  # rows per block
PROJECTIONS: Final = 256  # random directions
FID_LEAST: Final = 50  # images below which the covariance estimate is too noisy


@metric("kid", "kid_spread")
def kid_with_spread(c: Compared) -> dict[str, float]:
    """KID of all images, and the standard deviation of KID over random subsets (Bińkowski et al. 2018)."""
    rng = c.rng("kid")
    size = min(SUBSET, len(c.real) // 2, len(c.synthetic) // 2)
    drawn = []
    for _ in range(SUBSETS if size >= 2 else 0):
        x, y = (s.vectors[rng.permutation(len(s))[:size]] for s in (c.real, c.synthetic))
        drawn.append(_mmd(x.astype(np.float64), y.astype(np.float64)))
    return {"kid": kid(c.real, c.synthetic), "kid_spread": float(np.std(drawn, ddof=1)) if drawn else float("nan")}


def kid(real: Embedded, synthetic: Embedded) -> float:
    """Unbiased squared MMD with the kernel (x·y/F + 1)³ (Bińkowski et al.
    2018); 0 for equal distributions, may be negative.
    """
    return _mmd(real.vectors.astype(np.float64), synthetic.vectors.astype(np.float64))


def class_kid(real: Embedded, synthetic: Embedded) -> float:
    """Mean of `kid` over classes, by which a generator's checkpoint is selected; lower is better.

    Per class, because a generator that draws the wrong class well has a good overall value. Every class counts, even
    with one real image: the smallest classes are what a generator is trained for.
    """
    labels = np.intersect1d(real.labels, synthetic.labels)
    return float(np.mean([kid(real.of(int(c)), synthetic.of(int(c))) for c in labels]))


def _mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    across = _kernel_sum(x, y) / (len(x) * len(y))
    return _within(x) + _within(y) - 2 * across


def _kernel_sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Sum of the kernel over all pairs, one block at a time."""
    total, other = 0.0, y.T / x.shape[1]
    for start in range(0, len(x), BLOCK):
        base = x[start : start + BLOCK] @ other
        base += 1
        # base³ by two products: a general power takes ten times as long.
        total += float(np.einsum("ij,ij,ij->", base, base, base))
    return total


def _within(x: NDArray[np.float64]) -> float:
    """Mean kernel value over pairs of different images; of a single image, its value with itself."""
    n = len(x)
    diagonal = (np.square(x).sum(1) / x.shape[1] + 1) ** 3
    # One image has no pair. Its value with itself is a constant, so the order of checkpoints is unchanged.
    return float((_kernel_sum(x, x) - diagonal.sum()) / (n * (n - 1)) if n > 1 else diagonal[0])


@metric("fid", least=FID_LEAST)
def fid(c: Compared) -> float:
    """|mu - mu'|² + tr(S + S' - 2 (S S')^½) of Gaussian fits (Heusel et al.
    2017); comparable only within one feature space.
    """
    x, y = c.real.vectors.astype(np.float64), c.synthetic.vectors.astype(np.float64)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # tr((S S')^½) from the symmetric S^½ S' S^½, whose eigenvalues are real and not negative.
    values, vectors = linalg.eigh(a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    mean_gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(mean_gap + np.trace(a) + np.trace(b) - 2 * cross)


@metric("sliced_wasserstein", least=20)
def sliced_wasserstein(c: Compared) -> float:
    """Mean over random directions of the 1-Wasserstein distance between the projections (Rabin et al. 2011)."""
    x, y = c.real.vectors.astype(np.float64), c.synthetic.vectors.astype(np.float64)
    directions = c.rng("directions").normal(size=(x.shape[1], PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    a, b = np.sort(x @ directions, 0), np.sort(y @ directions, 0)
    # In one dimension W1 is the mean gap of the quantile functions: steps of height 1/n and 1/m.
    edges = np.union1d(np.arange(1, len(a) + 1) / len(a), np.arange(1, len(b) + 1) / len(b))
    weight = np.diff(edges, prepend=0.0)
    middle = edges - weight / 2
    at_a = np.minimum((middle * len(a)).astype(np.int64), len(a) - 1)
    at_b = np.minimum((middle * len(b)).astype(np.int64), len(b) - 1)
    total = 0.0
    for start in range(0, len(edges), BLOCK):
        rows = slice(start, start + BLOCK)
        gaps = np.abs(a[at_a[rows]] - b[at_b[rows]])
        total += float((weight[rows, None] * gaps).sum())
    return total / PROJECTIONS
