"""A test set as what a bootstrap draws anew: its groups, since images of one patient are right or wrong together.

The class-balanced mean of a value over test images is a ratio of sums over groups. What a group adds to its luck is told by how
the mean would change without it (jackknife influence: Efron & Stein 1981; Davison & Hinkley 1997, section 2.7.3), so that a
group that is most of its class counts for what it is, where its distance from a mean that it makes itself would be nothing.
Where every image is a group of its own that is the bootstrap of images within their class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Values = NDArray[np.float64]


def image_weights(labels: NDArray[np.int64]) -> Values:
    """1 / (K · n_c) for each image: the weighted sum of hits is the macro recall."""
    present, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Values = 1.0 / (len(present) * counts[inverse])
    return weights


class Units:
    """Labels (N,) of test images and what is drawn anew of them.

    groups: (N,) what images belong together; every image by itself where there are none. weights: (N,) 1 / (K · n_c), by
    which a sum is the class-balanced mean. of_class: groups of each class in effect, (Σm)² / Σm² of their images m (Kish
    1965, 8.2), which is their number where they are equal; least: the fewest. grouped: whether any group has several
    images. degrees: of freedom of the luck of the groups, likewise by what each weighs.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        groups: Sequence[object] | NDArray[np.object_] | None = None,
    ) -> None:
        self.labels = labels
        self.weights = image_weights(labels)
        present, self._class = np.unique(labels, return_inverse=True)
        n, k = len(labels), len(present)
        group = np.arange(n)
        if groups is not None:
            group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
        self._groups = int(group.max()) + 1 if n else 0
        self.grouped = self._groups < n
        # A cell: the images of a group that are of one class.
        cells, cell, images = np.unique(
            group * np.int64(max(1, k)) + self._class, return_inverse=True, return_counts=True
        )
        of_group, of_class = cells // max(1, k), cells % max(1, k)
        self._counts = np.bincount(of_class, images, minlength=k)
        in_effect = self._counts**2 / np.bincount(of_class, images**2.0, minlength=k)
        self.of_class: dict[int, float] = dict(
            zip(present.tolist(), in_effect.tolist(), strict=True)
        )
        self.least = min(self.of_class.values(), default=0.0)
        # Without its own images a mean moves by n / (n - m) as much as they lie apart from it; of the only group of its
        # class nothing can be told.
        left = np.maximum(self._counts[of_class] - images, 1)
        self._reach = (self._counts[of_class] / left)[cell]
        self._members = sparse.csr_array(
            (np.ones(n), (group, np.arange(n))), shape=(self._groups, n), dtype=np.float64
        )
        self._strata = self._stratified(of_group, of_class)
        weight = (
            self._members @ self.weights
        ) ** 2  # as a group's luck goes, if all images of one are alike
        total = float(weight.sum())
        self.degrees = max(
            1.0, total**2 / float((weight**2).sum()) - len(self._strata) if n else 1.0
        )

    def _stratified(
        self, of_group: NDArray[np.int64], of_class: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """Groups that are drawn in each other's place: those of a class, or all where some hold several classes."""
        if len(of_group) > self._groups:
            return [np.arange(self._groups)]
        stratum = np.empty(self._groups, np.int64)
        stratum[of_group] = of_class
        return [np.flatnonzero(stratum == h) for h in np.unique(stratum)]

    def mean(self, values: Values) -> Values:
        """Class-balanced means of (S,N) → (S,)."""
        found: Values = values @ self.weights
        return found

    def influence(self, values: Values) -> Values:
        """By how much each seed's mean would be less without each group: (S,N) → (S,G)."""
        k = len(self._counts)
        sums = np.stack([np.bincount(self._class, row, minlength=k) for row in values])
        apart = (values - (sums / self._counts)[:, self._class]) * self.weights * self._reach
        found: Values = (self._members @ apart.T).T
        return found

    def draws(self, values: Values, n: int, rng: np.random.Generator) -> Values:
        """n class-balanced means of `values` (N,) over groups drawn anew within their stratum."""
        influence = self.influence(values[None])[0]
        total = np.full(n, float(self.mean(values[None])[0]))
        for rows in self._strata:
            own, g = influence[rows], len(rows)
            # Groups of one value are drawn as one: the same law, and of some thousands of hits few values differ.
            _, at, times = np.unique(own.round(12), return_index=True, return_counts=True)
            picks = rng.multinomial(g, times / g, size=n) @ own[at]
            total += (picks - own.sum()) * math.sqrt((g - 1) / g)
        return total

    def variance(self, values: Values) -> Values:
        """Variance of each seed's mean from the luck of the groups, by the jackknife: (S,N) → (S,)."""
        influence = self.influence(values)
        found = np.zeros(len(values))
        for rows in self._strata:
            g = len(rows)
            found += (g - 1) * influence[:, rows].var(axis=1)
        return found
