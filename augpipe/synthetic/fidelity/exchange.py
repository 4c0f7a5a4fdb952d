"""The permutation test of memorisation: are train and held-out images exchangeable for a generator?

Images of a group (patient, person) resemble each other: whole groups are exchanged, within the classes that they have.
Exchanged one by one, nearness to the persons in train would pass for nearness to their images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from augpipe.core import neighbours
from augpipe.synthetic.embeddings import Embedded

PERMUTATIONS: Final = 999
AT_ONCE: Final = 2**20  # candidates of all permutations that are evaluated together
CANDIDATES: Final = (8, 64)  # bounds on the number of nearest real images that a permutation considers
MISSED: Final = 1e-4  # tolerated probability that all candidates are of one kind
COPIED: Final = 1e-3  # fraction of the median distance below which two images are the same
MOST: Final = 2000  # images per set and class
LEAST_DEALS: Final = 200  # of fewer ways to divide the units, p of both spaces cannot be .01

Floats = NDArray[np.float32]
Items = NDArray[Any]
Search = Callable[[Items, Items, int], tuple[Floats, NDArray[np.int64]]]


@dataclass(frozen=True)
class Space:
    """Synthetic, train and held-out images of one class in one space (features or pixels).

    units: int64 (M,), of the train, then the held-out images: those of a unit are exchanged together; None: each image
    alone. search: the k nearest points of each query, see `neighbours.nearest`.
    """

    synthetic: Items
    train: Items
    held_out: Items
    units: NDArray[np.int64] | None = None
    search: Search = neighbours.nearest

    def nearest(self, queries: Items, points: Items) -> Floats:
        """Distance of each query to its nearest point, (N,)."""
        return self.search(queries, points, 1)[0][:, 0]


def real_units(train: Embedded, held_out: Embedded) -> NDArray[np.int64]:
    """The unit of each train, then each held-out image: its group.
    Images of a group with some in both are on their own.
    """
    alone = np.arange(len(train) + len(held_out))
    if train.groups is None or held_out.groups is None:
        return alone
    group = pd.factorize(np.concatenate([train.groups, held_out.groups]))[0]
    in_train = np.bincount(group, alone < len(train))
    whole = (in_train == 0) | (in_train == np.bincount(group))
    units: NDArray[np.int64] = np.where(whole[group], len(alone) + group, alone)
    return units


class Deals:
    """Ways to divide the real images of several classes into members (train) and others, whole units at a time.

    Units change places within the classes that they have, so that the number of units of each class stays. grouped:
    whether a unit has several images. n: number of units. ways: number of divisions, at most the largest float.
    """

    def __init__(self, classes: Sequence[Space]) -> None:
        sizes = [len(space.train) + len(space.held_out) for space in classes]
        starts = np.cumsum([0, *sizes])
        units = np.concatenate(
            [
                np.arange(start, end) if space.units is None else space.units
                for space, start, end in zip(classes, starts, starts[1:], strict=False)
            ]
        )
        self._ends = starts[1:-1]
        # Numbered as they come: members are dealt in the order of the images.
        self._unit = pd.factorize(units)[0]
        self.n = int(self._unit.max()) + 1
        self.grouped = self.n < len(units)
        members = np.concatenate([np.arange(size) < len(c.train) for size, c in zip(sizes, classes, strict=True)])
        self._members = np.zeros(self.n, np.bool_)
        self._members[self._unit[members]] = True
        strata = _strata(self._unit, np.repeat(np.arange(len(classes)), sizes))
        # Units stratum by stratum, and where each image's unit is in that order.
        self._order = np.concatenate(strata)
        self._place = np.argsort(self._order)[self._unit]
        ends = np.cumsum([len(stratum) for stratum in strata]).tolist()
        self._strata = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        ways = 0.0
        for stratum in strata:
            n, m = len(stratum), int(self._members[stratum].sum())
            ways += float(gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1))
        self.ways = math.exp(min(ways, 700.0))

    def observed(self) -> list[NDArray[np.bool_]]:
        """Which images of each class are members."""
        return np.split(self._members[self._unit], self._ends)

    def drawn(self, rng: np.random.Generator, n: int) -> list[NDArray[np.bool_]]:
        """The same of `n` random divisions: (n,images) for each class."""
        members = np.tile(self._members[self._order], (n, 1))
        for division in members:
            for stratum in self._strata:
                rng.shuffle(division[stratum])
        return np.split(members[:, self._place], self._ends, axis=1)

    def refusal(self) -> str:
        """Why the test cannot show anything; empty if it can."""
        if round(self.ways) >= LEAST_DEALS:
            return ""
        what = "groups" if self.grouped else "images"
        return (
            f"needs {LEAST_DEALS} ways to divide the {what} of train and val, has {round(self.ways)} "
            f"with {self.n} {what}"
        )


def _strata(unit: NDArray[np.int64], label: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Units of the same classes, in the order in which they come."""
    classes: dict[int, set[int]] = {}
    for u, c in sorted(set(zip(unit.tolist(), label.tolist(), strict=True))):
        classes.setdefault(u, set()).add(c)
    strata: dict[frozenset[int], list[int]] = {}
    for u, of_unit in classes.items():
        strata.setdefault(frozenset(of_unit), []).append(u)
    return [np.array(units) for units in strata.values()]


class ClassTest:
    """One class of the permutation test: distances of its synthetic images to its real images."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        synthetic, members = subsample(space.synthetic, rng), len(space.train)
        pool = np.concatenate([space.train, space.held_out])
        self.n = len(pool)
        # The nearest images may all be of one unit: as many units, of the usual size, are needed.
        size = 1 if space.units is None else math.ceil(self.n / len(np.unique(space.units)))
        distance, self.row = space.search(synthetic, pool, min(size * _candidates(members, self.n), self.n))
        # The log distance of an exact copy must be finite: all distances below this floor count as equal.
        positive = distance[distance > 0]
        floor = COPIED * float(np.median(positive)) if len(positive) else 1.0
        self.logs = np.log(np.maximum(distance, floor))

    def statistics(self, members: NDArray[np.bool_]) -> Floats:
        """The sum over this class's synthetic images for each of P memberships (P,n): (P,).

        An image's part is the log distance to its nearest non-member minus that to its nearest member. One of them is
        its nearest candidate, the other the first of another kind; if there is none, the last candidate stands in.
        """
        kinds = members[:, self.row]  # (P,N,k), nearest first
        first = (kinds != kinds[:, :, :1]).argmax(2)  # 0: all are of the nearest's kind
        first[first == 0] = self.logs.shape[1] - 1
        rows = np.arange(len(self.logs))
        further = self.logs[rows, first] - self.logs[:, 0]
        # Contiguous: NumPy then adds in the same order for any number of memberships.
        signed = np.ascontiguousarray(np.where(kinds[:, :, 0], further, -further))
        sums: Floats = signed.sum(1)
        return sums


def exchange_test(classes: Sequence[Space], rng: np.random.Generator) -> float:
    """p of the permutation test (see `memorisation`); at least 1 / (PERMUTATIONS + 1)."""
    tests, deals = [ClassTest(space, rng) for space in classes], Deals(classes)
    observed = sum(float(t.statistics(m[None])[0]) for t, m in zip(tests, deals.observed(), strict=True))
    largest = max(sum(test.n for test in tests), *(test.row.size for test in tests))
    at_once = max(1, AT_ONCE // largest)
    extreme = 0
    for start in range(0, PERMUTATIONS, at_once):
        n = min(at_once, PERMUTATIONS - start)
        sums = np.zeros(n)
        for test, members in zip(tests, deals.drawn(rng, n), strict=True):
            sums += test.statistics(members)
        extreme += int(np.count_nonzero(sums >= observed))
    return (1 + extreme) / (PERMUTATIONS + 1)


def _candidates(members: int, n: int) -> int:
    """Number of candidates such that both kinds are among them, except with probability MISSED."""
    most_common = max(members, n - members) / n
    return int(np.clip(np.ceil(np.log(MISSED) / np.log(most_common)), *CANDIDATES))


def subsample(items: Items, rng: np.random.Generator) -> Items:
    """Random subset of at most MOST rows: enough to estimate a fraction, and pixel vectors are large."""
    return items if len(items) <= MOST else items[np.sort(rng.permutation(len(items))[:MOST])]
