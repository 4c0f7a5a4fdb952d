"""How real synthetic images look, in features: @metric functions over (real, synthetic).

Real images are those of val, never of test. Each metric is a function of two feature sets and is
refused (nan) where either is too small for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from augpipe.features import Embedded
from augpipe.kinds import Registry

Metric = Callable[[Embedded, Embedded], float]
metrics: Registry[Metric] = Registry("fidelity metric")
LEAST: Final = 5  # images on either side below which no metric is given
NEIGHBOURS: Final = 3


@metrics.register("agreement")
def agreement(real: Embedded, synthetic: Embedded) -> float:
    """Share of synthetic images whose class the real-only classifier confirms, 0..1."""
    return float((synthetic.predicted == synthetic.labels).mean())


@metrics.register("kid")
def kid(real: Embedded, synthetic: Embedded) -> float:
    """Unbiased squared MMD with the kernel (x·y/F + 1)³ (Bińkowski et al. 2018); 0 when alike, may fall below."""
    x, y = real.vectors.astype(np.float64), synthetic.vectors.astype(np.float64)
    across = (x @ y.T / x.shape[1] + 1) ** 3
    return _within(x) + _within(y) - 2 * float(across.mean())


def _within(x: NDArray[np.float64]) -> float:
    """Mean kernel value between different images; of one image, with itself."""
    kernel = (x @ x.T / x.shape[1] + 1) ** 3
    n = len(x)
    # One image has no pair. Its own value, not an estimate but a constant, keeps checkpoints in order.
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)) if n > 1 else kernel[0, 0])


@metrics.register("fid")
def fid(real: Embedded, synthetic: Embedded) -> float:
    """|mu - mu'|² + tr(S + S' - 2 (S S')^½) of Gaussian fits (Heusel et al. 2017); in these features only."""
    x, y = real.vectors.astype(np.float64), synthetic.vectors.astype(np.float64)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # tr((S S')^½) from the symmetric S^½ S' S^½, whose eigenvalues are real and not negative.
    values, vectors = linalg.eigh(a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    apart = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(apart + np.trace(a) + np.trace(b) - 2 * cross)


@metrics.register("precision")
def precision(real: Embedded, synthetic: Embedded) -> float:
    """Share of synthetic images inside a real one's k-NN ball (Kynkäänniemi et al. 2019), 0..1."""
    return _covered(real.vectors, synthetic.vectors)


@metrics.register("recall")
def recall(real: Embedded, synthetic: Embedded) -> float:
    """Share of real images inside a synthetic one's k-NN ball (Kynkäänniemi et al. 2019), 0..1."""
    return _covered(synthetic.vectors, real.vectors)


def _covered(centres: NDArray[np.float32], points: NDArray[np.float32], block: int = 1024) -> float:
    """Share of `points` within the distance of some centre to its NEIGHBOURS-th nearest fellow."""
    index = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(centres)
    radius = index.kneighbors(centres)[0][:, -1]
    inside = 0
    for start in range(0, len(points), block):
        gaps = cdist(points[start : start + block], centres)
        inside += int((gaps <= radius).any(1).sum())
    return inside / len(points)


def measure(real: Embedded, synthetic: Embedded, classes: tuple[str, ...]) -> pd.DataFrame:
    """Tidy table (class, metric, value), the empty class for all images; how many images each stands on."""
    rows: list[tuple[str, str, float]] = []
    parts = [("", real, synthetic)]
    parts += [(name, real.of(c), synthetic.of(c)) for c, name in enumerate(classes)]
    for name, a, b in parts:
        rows += [
            (name, "n_real", float(len(a.labels))),
            (name, "n_synthetic", float(len(b.labels))),
        ]
        enough = min(len(a.labels), len(b.labels)) >= LEAST
        rows += [
            (name, metric, function(a, b) if enough else float("nan"))
            for metric, function in metrics.items()
        ]
    return pd.DataFrame(rows, columns=["class", "metric", "value"])


def class_kid(real: Embedded, synthetic: Embedded) -> float:
    """Mean over classes of `kid`: what a generator's checkpoints are chosen by; lower is better.

    Per class, because a generator that draws the wrong class well has a good overall figure. Every class
    counts, be it with one real image: the smallest are what a generator is trained for.
    """
    labels = np.intersect1d(real.labels, synthetic.labels)
    return float(np.mean([kid(real.of(int(c)), synthetic.of(int(c))) for c in labels]))
