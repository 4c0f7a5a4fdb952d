"""What a metric is given and what it gives; the registry of metrics."""

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

LEAST: Final = 5  # images on either side below which no metric is given
NEIGHBOURS: Final = 3  # of improved precision and recall (Kynkäänniemi et al. 2019)
DENSE: Final = 5  # of density and coverage (Naeem et al. 2020)


class RefusedError(Exception):
    """A metric cannot be given here; says why in a few words."""


class Told(NamedTuple):
    """A figure with a word to it."""

    value: float
    note: str


@dataclass(frozen=True)
class Compared:
    """real: of val, never of test. synthetic: what is judged. train: what the generator learned from."""

    real: Embedded
    synthetic: Embedded
    train: Embedded | None = None
    seed: int = 0

    def of(self, label: int) -> Compared:
        """One class of all of them."""
        train = None if self.train is None else self.train.of(label)
        return Compared(self.real.of(label), self.synthetic.of(label), train, self.seed)

    def filled(self) -> Compared:
        """Only the classes that there are synthetic images of; whole where there are none at all."""
        have = np.unique(self.synthetic.labels)
        if len(have) == 0:
            return self

        def of_them(images: Embedded) -> Embedded:
            own = np.isin(images.labels, have)
            return images if own.all() else images.take(np.flatnonzero(own))

        train = None if self.train is None else of_them(self.train)
        return Compared(of_them(self.real), self.synthetic, train, self.seed)

    def rng(self, name: str) -> np.random.Generator:
        """A stream of this comparison's."""
        return numpy_stream(self.seed, "fidelity", name)

    def even(self, name: str, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Equally many rows of the real and of the synthetic ones, drawn, at most `most` each."""
        n = min(len(self.real), len(self.synthetic), most)
        rng = self.rng(name)
        rows = (np.sort(rng.permutation(len(s))[:n]) for s in (self.real, self.synthetic))
        return next(rows), next(rows)

    @cached_property
    def real_radii(self) -> dict[int, NDArray[np.float32]]:
        """k → distance of each real image to its k-th nearest fellow."""
        return _radii(self.real)

    @cached_property
    def synthetic_radii(self) -> dict[int, NDArray[np.float32]]:
        """k → distance of each synthetic image to its k-th nearest fellow."""
        return _radii(self.synthetic)


def _radii(images: Embedded) -> dict[int, NDArray[np.float32]]:
    most = min(DENSE, len(images) - 1)
    found = neighbours.nearest(images.vectors, images.vectors, most, without_self=True)[0]
    return {k: found[:, k - 1] for k in range(1, most + 1)}


Result = float | Told | Mapping[str, float | Told]


@dataclass(frozen=True)
class Metric:
    """gives: the names of its figures. least: images on either side that it needs; least_real: of the real ones."""

    function: Callable[[Compared], Result]
    gives: tuple[str, ...]
    least: int
    least_real: int
    needs_train: bool


metrics: Registry[Metric] = Registry("fidelity metric")


def metric(
    *gives: str, least: int = LEAST, least_real: int | None = None, needs_train: bool = False
) -> Callable[[Callable[[Compared], Result]], Callable[[Compared], Result]]:
    """Decorator: enter a function of `Compared` as a metric; its figures' names in the order of the table."""

    def add(function: Callable[[Compared], Result]) -> Callable[[Compared], Result]:
        real = least if least_real is None else least_real
        metrics.register(gives[0])(Metric(function, gives, least, real, needs_train))
        return function

    return add
