"""Resampling units of a test set: its groups, since predictions on images of one patient are correlated.

The class-balanced mean of a value over test images is a ratio of sums over groups. The contribution of a group to its
variance is measured by how the mean changes without it (jackknife influence: Efron & Stein 1981; Davison & Hinkley
1997, section 2.7.3). So a group that makes up most of its class has its full weight; its distance from the mean, which
it mostly determines, would be near 0. If every image is its own group, this is the bootstrap of images within their
class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Values = NDArray[np.float64]


def image_weights(labels: NDArray[np.int64]) -> Values:
    """1 / (K · n_c) for each image: the weighted sum of correct predictions is the macro recall."""
    present, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Values = 1.0 / (len(present) * counts[inverse])
    return weights


class Units:
    """Labels (N,) of test images, and the groups in which they are resampled.

    groups: (N,) group of each image; None: each image is its own group. weights: (N,) 1 / (K · n_c); the weighted sum
    is the class-balanced mean. of_class: effective number of groups of each class, (Σm)² / Σm² over their numbers of
    images m (Kish 1965, 8.2), which is their number if they are equal; least: the smallest of these. grouped: whether
    any group has several images. degrees: effective degrees of freedom of the variance between groups, by their
    weights. reach: (N,) factor by which an image's deviation from its class counts.
    """

    def __init__(self, labels: NDArray[np.int64], groups: Sequence[object] | NDArray[np.object_] | None = None) -> None:
        self.labels = labels
        self.weights = image_weights(labels)
        present, self._class = np.unique(labels, return_inverse=True)
        n, k = len(labels), len(present)
        group = np.arange(n)
        if groups is not None:
            group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
        self._groups = int(group.max()) + 1 if n else 0
        self.grouped = self._groups < n
        # A cell: the images of one group and one class.
        cells, cell, images = np.unique(
            group * np.int64(max(1, k)) + self._class, return_inverse=True, return_counts=True
        )
        of_group, of_class = cells // max(1, k), cells % max(1, k)
        self._counts = np.bincount(of_class, images, minlength=k)
        in_effect = self._counts**2 / np.bincount(of_class, images**2.0, minlength=k)
        self.of_class: dict[int, float] = dict(zip(present.tolist(), in_effect.tolist(), strict=True))
        self.least = min(self.of_class.values(), default=0.0)
        # Without the m images of a cell, the mean of its class moves by n / (n - m) times their deviation from it; for
        # the only group of a class this is undefined.
        remaining = np.maximum(self._counts[of_class] - images, 1)
        self.reach: Values = (self._counts[of_class] / remaining)[cell]
        self._members = sparse.csr_array((np.ones(n), (group, np.arange(n))), shape=(self._groups, n), dtype=np.float64)
        self._strata = self._stratified(of_group, of_class)
        self.degrees = self.degrees_of(self.weights)

    def _stratified(self, of_group: NDArray[np.int64], of_class: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Groups that replace each other in resampling: those of a class, or all if a group has several classes."""
        if len(of_group) > self._groups:
            return [np.arange(self._groups)]
        stratum = np.empty(self._groups, np.int64)
        stratum[of_group] = of_class
        return [np.flatnonzero(stratum == h) for h in np.unique(stratum)]

    def degrees_of(self, weights: Values) -> float:
        """Effective degrees of freedom of the variance between groups of a sum with these weights (N,); at least 1."""
        # The variance of a group's sum, if all its images have the same value.
        weight = (self._members @ weights) ** 2
        total, squares = float(weight.sum()), float((weight**2).sum())
        if squares == 0:
            return 1.0
        counted = sum(bool(weight[rows].any()) for rows in self._strata)
        return max(1.0, total**2 / squares - counted)

    def mean(self, values: Values) -> Values:
        """Class-balanced means of (S,N) → (S,)."""
        means: Values = values @ self.weights
        return means

    def influence(self, values: Values) -> Values:
        """Decrease of each seed's mean if a group is left out: (S,N) → (S,G)."""
        return self.gather(values * self.weights)

    def gather(self, contributions: Values) -> Values:
        """Influence of each group on a sum of contributions of images, whose classes keep their size: (S,N) → (S,G).

        For another statistic than a sum: its derivatives with respect to the weight of each image.
        """
        k = len(self._counts)
        sums = np.stack([np.bincount(self._class, row, minlength=k) for row in contributions])
        deviations = (contributions - (sums / self._counts)[:, self._class]) * self.reach
        influence: Values = (self._members @ deviations.T).T
        return influence

    def characteristic(self, values: Values, t: Values) -> NDArray[np.complex128]:
        """E exp(i t D) at each t (T,): D is what the bootstrap adds to the class-balanced mean of `values` (N,).

        Groups are resampled within their stratum; D is scaled so that its variance is that of `variance`.
        """
        influence = self.influence(values[None])[0]
        product = np.ones(len(t), np.complex128)
        for rows in self._strata:
            stratum, g = influence[rows], len(rows)
            # Groups of equal influence have one term: only few values are distinct.
            value, times = np.unique(stratum.round(12), return_counts=True)
            centred = (value - stratum.mean()) * math.sqrt((g - 1) / g)
            for block in np.array_split(np.arange(len(t)), 1 + len(t) * len(value) // 2**20):
                product[block] *= (np.exp(1j * np.outer(t[block], centred)) @ (times / g)) ** g
        return product

    def variance(self, values: Values) -> Values:
        """Jackknife variance of each seed's mean over groups: (S,N) → (S,)."""
        return self.variance_of(self.influence(values))

    def variance_of(self, influence: Values) -> Values:
        """Jackknife variance from the influence of each group: (S,G) → (S,)."""
        variance = np.zeros(len(influence))
        for rows in self._strata:
            g = len(rows)
            variance += (g - 1) * influence[:, rows].var(axis=1)
        return variance

    def covariance_of(self, influence: Values) -> Values:
        """Jackknife covariances of several statistics from the influence of each group: (S,G) → (S,S)."""
        covariance = np.zeros((len(influence), len(influence)))
        for rows in self._strata:
            centred = influence[:, rows] - influence[:, rows].mean(axis=1, keepdims=True)
            covariance += (len(rows) - 1) / len(rows) * (centred @ centred.T)
        return covariance
