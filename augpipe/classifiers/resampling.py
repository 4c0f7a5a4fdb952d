"""More features of rare classes: from calibrated Gaussians, or by imbalanced-learn's samplers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from imblearn import over_sampling
from numpy.typing import NDArray

from augpipe.classifiers.features import Array, Features
from augpipe.core.seeds import entropy, numpy_stream

Labels = NDArray[np.int64]
# imbalanced-learn's messages where ADASYN cannot draw: no feature has a neighbour of another class, or too few are
# missing.
UNSUITED: Final = ("belong to the majority class", "No samples will be generated")


def with_calibrated(
    train: Features, classes: tuple[Labels, Labels], neighbours: int, dispersion: float, seed: int
) -> Features:
    """`train`, filled up to the largest class by features from N(mean, covariance) of each rare feature in turn
    (Yang, Liu & Xu 2021, eq. 7 and 8). classes: rich and rare ones.
    """
    if not len(classes[1]):
        return train
    rng = numpy_stream(seed, "calibrated features")
    rich = [train.of(label) for label in classes[0]]
    means = np.stack([points.mean(0) for points in rich])
    covariances = np.stack([np.cov(points, rowvar=False) for points in rich])
    largest = int(np.bincount(train.labels).max())
    parts, labels, roots = [train.points], [train.labels], dict[tuple[int, ...], Array]()
    for label in classes[1]:
        support = train.of(int(label))
        each = np.bincount(np.arange(largest - len(support)) % len(support), minlength=len(support))
        for point, n in zip(support, each, strict=True):
            if n:
                nearest = nearest_rich(point, means, neighbours)
                mean, covariance = calibrated_statistics(point, means[nearest], covariances[nearest], dispersion)
                # Rare features with the same neighbours share a covariance, whose root takes longest.
                key = tuple(nearest.tolist())
                if key not in roots:
                    roots[key] = _root(covariance)
                parts.append(mean + rng.standard_normal((n, len(mean))) @ roots[key].T)
                labels.append(np.full(n, label))
    return Features(np.concatenate(parts), np.concatenate(labels))


def nearest_rich(point: Array, means: Array, neighbours: int) -> Labels:
    """Rows of the means (R,F) nearest to a rare feature, by -|m_i - x|² (Yang, Liu & Xu 2021, eq. 4 and 5)."""
    return np.argsort(((means - point) ** 2).sum(1), kind="stable")[:neighbours]


def calibrated_statistics(point: Array, means: Array, covariances: Array, dispersion: float) -> tuple[Array, Array]:
    """Mean (F,) and covariance (F,F) of a rare feature's class, from its k nearest rich ones.

    Mean (Σ m_i + x) / (k + 1), and covariance Σ S_i / k + alpha, alpha being added to every element (Yang, Liu & Xu
    2021, eq. 6). means: (k,F). covariances: (k,F,F).
    """
    return (means.sum(0) + point) / (len(means) + 1), covariances.mean(0) + dispersion


def _root(covariance: Array) -> Array:
    """A with A A' = covariance; eigenvalues below 0 are rounding."""
    values, vectors = np.linalg.eigh(covariance)
    root: Array = vectors * np.sqrt(values.clip(0))
    return root


def resampled(train: Features, method: str, neighbours: int, seed: int) -> Features:
    """`train`, each class filled up to the largest by `smote`, `borderline` or `adasyn`."""
    sizes = np.bincount(train.labels)
    parts, labels = [train.points], [train.labels]
    for label in np.flatnonzero((sizes > 0) & (sizes < sizes.max())):
        missing = int(sizes.max() - sizes[label])
        drawn = _drawn(train, int(label), missing, (method, neighbours), entropy(seed, "features", label) % 2**32)
        parts.append(drawn)
        labels.append(np.full(len(drawn), label))
    return Features(np.concatenate(parts), np.concatenate(labels))


def _drawn(train: Features, label: int, n: int, sampler: tuple[str, int], seed: int) -> Array:
    """About n new features of a class; a class of one feature is repeated."""
    method, neighbours = sampler
    size = int((train.labels == label).sum())
    k = min(neighbours, size - 1)
    if not k:
        return np.repeat(train.of(label), n, axis=0)
    target: dict[str, Any] = {"sampling_strategy": {label: size + n}, "random_state": seed}
    if method == "adasyn":
        try:
            return _fitted(over_sampling.ADASYN(**target, n_neighbors=k), train)
        except (RuntimeError, ValueError) as error:
            if not any(reason in str(error) for reason in UNSUITED):
                raise
            method = "smote"
    if method == "borderline":
        drawn = _fitted(over_sampling.BorderlineSMOTE(**target, k_neighbors=k), train)
        if len(drawn):
            return drawn
    return _fitted(over_sampling.SMOTE(**target, k_neighbors=k), train)


def _fitted(sampler: Any, train: Features) -> Array:
    """The features that a sampler adds, which follow the real ones."""
    points, _ = sampler.fit_resample(train.points, train.labels)
    added: Array = points[len(train.points) :]
    return added
