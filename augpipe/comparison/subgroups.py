"""Recall within groups of test images, such as those of a scanner: of each group, of the worst one, and the gap between
groups.

A group's macro recall averages the recalls of the classes that it has test images of. Worst group and gap are those of
fairlearn's `MetricFrame`: `group_min()`, and `difference(method="between_groups")`, the largest minus the smallest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.bootstrap import hidden_variance
from augpipe.comparison.metrics import Labels, Outputs, Values, balanced_weights
from augpipe.comparison.paired import Difference, estimate_of
from augpipe.comparison.units import Units

WORST: Final = "worst group"
GAP: Final = "gap"


@dataclass(frozen=True)
class _Scored:
    """recalls: (G,R,V) of each training and group, 0..1. centred: (G,R,N), whether an image is right, less its class's
    mean in its group."""

    recalls: Values
    centred: Values


class Subgroups:
    """Test images (N,) in groups by the value of an attribute; images with the value "" are in none.

    names: (V,) values, sorted. counts: (V,K) test images of each group and class. weights: (V,N) 1 / (K_v · n_cv) of
    the images of a group v, with K_v classes.
    """

    def __init__(
        self, labels: Labels, groups: Sequence[object] | NDArray[np.object_] | None, values: NDArray[np.object_]
    ) -> None:
        self.units, self.labels = Units(labels, groups), labels
        self.names = tuple(sorted({str(value) for value in values.tolist()} - {""}))
        self._masks = [values == name for name in self.names]
        self._groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
        k = int(labels.max(initial=-1)) + 1
        self.counts = np.stack([np.bincount(labels[mask], minlength=k) for mask in self._masks])
        self.weights = np.stack([self._weights(mask) for mask in self._masks])
        self._cell = self._cells(k)
        self._reach = self._reaches()

    def _weights(self, mask: NDArray[np.bool_]) -> Values:
        weights = np.zeros(len(self.labels))
        inside = self.labels[mask]
        weights[mask] = balanced_weights(inside, np.unique(inside))
        return weights

    def _cells(self, k: int) -> NDArray[np.int64]:
        """Number of each image's group and class, -1 for none."""
        cell = np.full(len(self.labels), -1, np.int64)
        for at, mask in enumerate(self._masks):
            cell[mask] = at * k + self.labels[mask]
        return cell

    def _reaches(self) -> Values:
        """Factors (N,) that make the jackknife variance within a class of all images that within the image's cell.

        n / (n - m) for m images of its unit among n (see `Units`), and sqrt((u - 1) / u) for u units: of the cell over
        those of the class.
        """
        unit = np.unique(self._groups.astype(str), return_inverse=True)[1]
        n, m, u = _sizes(self._cell, unit)
        units = _sizes(self.labels, unit)[2]
        factor = np.maximum(u - 1, 1) / u / (np.maximum(units - 1, 1) / units)
        reach: Values = n / np.maximum(n - m, 1) / self.units.reach * np.sqrt(factor)
        return reach

    def score(self, outputs: Outputs) -> _Scored:
        """outputs: (G,R,N) predicted classes."""
        right = (outputs == self.labels).astype(np.float64)
        centred = np.zeros_like(right)
        for cell in np.unique(self._cell[self._cell >= 0]):
            inside = self._cell == cell
            centred[..., inside] = right[..., inside] - right[..., inside].mean(-1, keepdims=True)
        return _Scored(right @ self.weights.T, centred * self._reach)

    def differences(self, contender: Outputs, rival: Outputs, prefix: str = "") -> list[Difference]:
        """Contender minus rival in each group, in the worst group (of each arm), and in the gap; outputs: (G,R,N)
        classes.

        Names: prefix and the group's name, WORST or GAP. The last two only where there are two groups.
        """
        arms = [self.score(contender), self.score(rival)]
        changed = (contender == self.labels).mean((0, 1)) - (rival == self.labels).mean((0, 1))
        hidden = [self._hidden(at, changed) for at in range(len(self.names))]
        results = []
        for at, name in enumerate(self.names):
            one = self._difference(f"{prefix}{name}", arms, at, hidden[at])
            results.append(one if one.error else replace(one, alike=self._alike(at, rival)))
        if len(self.names) < 2:
            return results
        most = sorted(hidden)[::-1]
        results.append(self._difference(prefix + WORST, arms, WORST, most[0]))
        results.append(self._difference(prefix + GAP, arms, GAP, sum(most[:2])))
        return results

    def _difference(self, name: str, arms: Sequence[_Scored], what: int | str, hidden: float) -> Difference:
        (ours, first, w), (theirs, second, v) = (self._statistic(arm, what) for arm in arms)
        weights = (w + v) / 2
        counted = [self._least(at) for at in range(len(self.names)) if weights[self._masks[at]].any()]
        influence = self.units.gather(100 * (first - second))
        of_test = self.units.degrees_of(weights)
        values = 100 * (ours - theirs)
        return estimate_of(name, values, influence, 100**2 * hidden, self.units, of_test, min(counted))

    def _statistic(self, scored: _Scored, what: int | str) -> tuple[Values, Values, Values]:
        """Values (G,R), contributions of the images to each generator's mean (G,N), and mean |weights| (N,).

        what: WORST, GAP, or the number of a group.
        """
        g, r, _ = scored.recalls.shape
        rounded = scored.recalls.round(12)  # ties go to the first group
        low, high = rounded.argmin(2), rounded.argmax(2)
        if isinstance(what, int):
            low = np.full((g, r), what)
        signed = self.weights[low]  # (G,R,N)
        values = np.take_along_axis(scored.recalls, low[..., None], 2)[..., 0]
        if what == GAP:
            signed = self.weights[high] - signed
            values = scored.recalls.max(2) - values
        contributions = (scored.centred * signed).mean(1)
        return values, contributions, np.abs(signed).mean((0, 1))

    def _hidden(self, at: int, changed: Values) -> float:
        mask = self._masks[at]
        units = Units(self.labels[mask], self._groups[mask])
        return hidden_variance(changed[mask], units, self.weights[at][mask])

    def _least(self, at: int) -> float:
        mask = self._masks[at]
        return Units(self.labels[mask], self._groups[mask]).least

    def _alike(self, at: int, outputs: Outputs) -> tuple[tuple[float, float], ...]:
        """Recall and effective test units of each class of a group."""
        mask = self._masks[at]
        labels = self.labels[mask]
        right = (outputs[..., mask] == labels).mean((0, 1))
        of_class = Units(labels, self._groups[mask]).of_class
        return tuple((float(right[labels == c].mean()), n) for c, n in of_class.items())


def _sizes(cell: NDArray[np.int64], unit: NDArray[np.int64]) -> tuple[Values, Values, Values]:
    """For each image (N,): images of its cell, images of its unit in its cell, units of its cell."""
    _, at, n = np.unique(cell, return_inverse=True, return_counts=True)
    both, pair, m = np.unique(np.stack([at, unit]), axis=1, return_inverse=True, return_counts=True)
    u = np.bincount(both[0])
    return n[at].astype(float), m[pair.ravel()].astype(float), u[at].astype(float)
