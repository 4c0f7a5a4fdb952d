"""Features of images, and linear heads on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """points: (N,F), the penultimate features of images. labels: int64 (N,)."""

    points: Array
    labels: NDArray[np.int64]

    def of(self, label: int) -> Array:
        """The features of a class."""
        points: Array = self.points[self.labels == label]
        return points


@dataclass(frozen=True)
class LinearHead:
    """Logits W·t(x) + b, with t(x) = sign(x) |x|^power; with a scale, scale · cos(x, w_c) and no bias.

    weight: (K,F). bias: (K,). chosen: options chosen on val.
    """

    weight: Array
    bias: Array
    scale: float | None = None
    power: float | None = None
    chosen: Mapping[str, float] = field(default_factory=dict)

    def logits(self, points: Array) -> Array:
        """Features (N,F) → logits (N,K)."""
        if self.scale is None:
            return transformed(points, self.power) @ self.weight.T + self.bias
        return self.scale * (unit(points) @ unit(self.weight).T)


@dataclass(frozen=True)
class HeadData:
    """What a head is fitted to: features of train and of val, train images of each class (K,), the trained head."""

    train: Features
    val: Features
    counts: NDArray[np.int64]
    base: LinearHead

    @property
    def rich(self) -> NDArray[np.int64]:
        """Classes with at least the mean number of images; the others are rare."""
        return np.flatnonzero(self.counts >= self.counts.mean())

    @property
    def rare(self) -> NDArray[np.int64]:
        """Classes with fewer than the mean number of images."""
        return np.flatnonzero(self.counts < self.counts.mean())

    def means(self) -> Array:
        """Mean feature of each class, (K,F)."""
        return np.stack([self.train.of(label).mean(0) for label in range(len(self.counts))])


def transformed(points: Array, power: float | None) -> Array:
    """Tukey's transform x^power of features (Yang, Liu & Xu 2021, eq. 3), odd for architectures with negative ones."""
    if power is None:
        return points
    powers: Array = np.sign(points) * np.abs(points) ** power
    return powers


def unit(points: Array) -> Array:
    """Rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(lengths > 0, lengths, 1.0)


def macro_recall(logits: Array, labels: NDArray[np.int64]) -> float:
    """Mean recall of the classes in `labels`."""
    right = logits.argmax(1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def log_loss(logits: Array, labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of softmax(logits)."""
    from scipy.special import log_softmax

    return -float(log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
