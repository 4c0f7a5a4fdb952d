"""Inputs and results of fidelity metrics, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.core import neighbours
from augpipe.core.registry import Registry
from augpipe.core.seeds import numpy_stream
from augpipe.synthetic.embeddings import Embedded

LEAST: Final = 5  # images that every metric needs of each set, unless it declares another number
NEIGHBOURS: Final = 3  # k of improved precision and recall (Kynkäänniemi et al. 2019)
DENSE: Final = 5  # k of density and coverage (Naeem et al. 2020)


class RefusedError(Exception):
    """A metric cannot be computed for these images; the message is its note in the table."""


class Noted(NamedTuple):
    """A value with a note."""

    value: float
    note: str


@dataclass(frozen=True)
class Compared:
    """The sets that metrics compare. real: val, never test. synthetic: under test.
    train: what the generator learned from.
    """

    real: Embedded
    synthetic: Embedded
    train: Embedded | None = None
    seed: int = 0

    def of(self, label: int) -> Compared:
        """One class of each set."""
        train = None if self.train is None else self.train.of(label)
        return Compared(self.real.of(label), self.synthetic.of(label), train, self.seed)

    def filled(self) -> Compared:
        """Restrict the sets to classes with synthetic images; unchanged if there are none at all."""
        present = np.unique(self.synthetic.labels)
        if len(present) == 0:
            return self

        def restrict(images: Embedded) -> Embedded:
            selected = np.isin(images.labels, present)
            return images if selected.all() else images.take(np.flatnonzero(selected))

        train = None if self.train is None else restrict(self.train)
        return Compared(restrict(self.real), self.synthetic, train, self.seed)

    def rng(self, name: str) -> np.random.Generator:
        """Random stream of that name for this comparison."""
        return numpy_stream(self.seed, "fidelity", name)

    def even(self, name: str, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Random rows of real and of synthetic, equally many, at most `most` each."""
        n = min(len(self.real), len(self.synthetic), most)
        rng = self.rng(name)
        rows = (np.sort(rng.permutation(len(s))[:n]) for s in (self.real, self.synthetic))
        return next(rows), next(rows)

    @cached_property
    def real_radii(self) -> dict[int, NDArray[np.float32]]:
        """k → distance of each real image to its k-th nearest neighbour in the set."""
        return _radii(self.real)

    @cached_property
    def synthetic_radii(self) -> dict[int, NDArray[np.float32]]:
        """k → distance of each synthetic image to its k-th nearest neighbour in the set."""
        return _radii(self.synthetic)


def _radii(images: Embedded) -> dict[int, NDArray[np.float32]]:
    most = min(DENSE, len(images) - 1)
    distances = neighbours.nearest(images.vectors, images.vectors, most, without_self=True)[0]
    return {k: distances[:, k - 1] for k in range(1, most + 1)}


Result = float | Noted | Mapping[str, float | Noted]


@dataclass(frozen=True)
class Metric:
    """A registered metric. gives: names of its figures.
    least: synthetic images that it needs; least_real: real ones.
    """

    function: Callable[[Compared], Result]
    gives: tuple[str, ...]
    least: int
    least_real: int
    needs_train: bool


metrics: Registry[Metric] = Registry("fidelity metric")


def metric(
    *gives: str, least: int = LEAST, least_real: int | None = None, needs_train: bool = False
) -> Callable[[Callable[[Compared], Result]], Callable[[Compared], Result]]:
    """Decorator: register a function of `Compared` as a metric.

    gives: names of its figures, in the order of the table. least_real: as `least` if None.
    """

    def add(function: Callable[[Compared], Result]) -> Callable[[Compared], Result]:
        real = least if least_real is None else least_real
        metrics.register(gives[0])(Metric(function, gives, least, real, needs_train))
        return function

    return add
