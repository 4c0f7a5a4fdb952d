"""A test set as what a bootstrap draws anew: its groups, since images of one patient are right or wrong together.

The class-balanced mean of a value over test images is a ratio of sums over groups. Its luck is told by each group's
influence, the sum over its images of weight times distance from the class's mean (linearisation: Wolter 2007, chapter
6; resampling whole clusters: Davison & Hinkley 1997, section 3.8). Where every image is a group of its own that is the
bootstrap of images within their class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Values = NDArray[np.float64]


class Units:
    """Labels (N,) of test images and what is drawn anew of them.

    groups: (N,) what images belong together; every image by itself where there are none. weights: (N,) 1 / (K · n_c), by
    which a sum is the class-balanced mean. of_class: groups of each class; least: the fewest. grouped: whether any group
    has several images. degrees: of freedom of the luck of the groups.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        groups: Sequence[object] | NDArray[np.object_] | None = None,
    ) -> None:
        self.labels = labels
        present, self._class, counts = np.unique(labels, return_inverse=True, return_counts=True)
        n, k = len(labels), len(present)
        self._counts = counts
        self.weights: Values = 1.0 / (k * counts[self._class])
        if groups is None:
            group = np.arange(n)
        else:
            group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
        self.total = int(group.max()) + 1 if n else 0
        self._members = sparse.csr_array(
            (np.ones(n), (group, np.arange(n))), shape=(self.total, n), dtype=np.float64
        )
        held = np.zeros((self.total, k), np.int64)
        np.add.at(held, (group, self._class), 1)
        self.grouped = self.total < n
        self.of_class = dict(zip(present.tolist(), (held > 0).sum(0).tolist(), strict=True))
        self.least: int = min(self.of_class.values(), default=0)
        self._strata = self._stratified(held)
        self.degrees = max(1, self.total - len(self._strata))

    @staticmethod
    def _stratified(held: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Groups that are drawn in each other's place: those of one class alone, and those of several, wherever two are."""
        k = held.shape[1]
        stratum = held.argmax(1) if len(held) else np.zeros(0, np.int64)
        mixed = (held > 0).sum(1) > 1
        if mixed.sum() > 1:
            stratum = np.where(mixed, k, stratum)
        return [np.flatnonzero(stratum == h) for h in np.unique(stratum)]

    def mean(self, values: Values) -> Values:
        """Class-balanced means of (S,N) → (S,)."""
        found: Values = values @ self.weights
        return found

    def influence(self, values: Values) -> Values:
        """What each group adds to the luck of each seed's mean: (S,N) → (S,G); each row sums to 0."""
        k = len(self._counts)
        sums = np.stack([np.bincount(self._class, row, minlength=k) for row in values])
        apart = (values - (sums / self._counts)[:, self._class]) * self.weights
        found: Values = (self._members @ apart.T).T
        return found

    def draws(self, values: Values, n: int, rng: np.random.Generator) -> Values:
        """n class-balanced means of `values` (N,) over groups drawn anew within their stratum.

        Deviations are stretched by sqrt(g/(g-1)): g groups spread less than their law.
        """
        influence = self.influence(values[None])[0]
        total = np.full(n, float(self.mean(values[None])[0]))
        for rows in self._strata:
            own, g = influence[rows], len(rows)
            # Groups of one value are drawn as one: the same law, and of some thousands of hits few values differ.
            _, at, times = np.unique(own.round(12), return_index=True, return_counts=True)
            picks = rng.multinomial(g, times / g, size=n) @ own[at]
            total += (picks - own.sum()) * math.sqrt(g / max(1, g - 1))
        return total

    def variance(self, values: Values) -> Values:
        """Variance of each seed's mean from the luck of the groups, (S,N) → (S,)."""
        influence = self.influence(values)
        found = np.zeros(len(values))
        for rows in self._strata:
            if len(rows) > 1:
                found += len(rows) * influence[:, rows].var(axis=1, ddof=1)
        return found
