"""Draw synthetic images into an image set on disk; images that a curator rejects are drawn again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.core.counts import Counts
from augpipe.core.image_folders import image_writer, keep_rows, release, write_labels
from augpipe.core.images import SYNTHETIC, ImageSet, provenance
from augpipe.core.refs import Ref
from augpipe.core.seeds import torch_stream
from augpipe.core.store import Store
from augpipe.generators.protocol import Derived, Deriving, Finite, Generator

AT_ONCE = 1024  # images per call of the generator
LEAST_RATE: Final = 1 / 4  # lower bound on the assumed acceptance rate of candidates
HOPELESS: Final = 100  # give up on a class after this many candidates without one accepted

Rows = NDArray[np.int64]
Values = Mapping[str, NDArray[np.float32]]


class Filter(Protocol):
    """Accepts or rejects candidates; see `curation.Curator`."""

    @property
    def rounds(self) -> int:
        """Maximum number of rounds in which missing images are drawn."""

    @property
    def oversample(self) -> float:
        """Candidates drawn per missing image if all pass."""

    def check(self, images: NDArray[np.uint8], labels: Rows) -> tuple[Rows, Values]:
        """Rows that pass, and the values of each check for these rows."""

    def keep(self, images: NDArray[np.uint8], labels: Rows) -> None:
        """Record accepted images."""


@dataclass(frozen=True)
class Sampled:
    """images: the synthetic set. checks: table of id and each check's value per image.
    short: class → images still missing.
    """

    images: Ref
    checks: Ref
    short: dict[int, int]


def sample(
    generator: Generator,
    counts: Counts,
    train: ImageSet,
    *,
    name: str,
    seed: int,
    store: Store,
    curator: Filter | None = None,
    class_of: Sequence[int] = (),
) -> Sampled:
    """Draw counts[c] images of each class c, in class order, and write them to disk as they are drawn.

    class_of: class of each label that the generator knows, in ascending order, where these are not the classes
    themselves; counts are then of its labels.

    A synthetic image derived from a train image gets that image's id as its parent, and its group; any other is a group
    of its own. `name` is the prefix of the ids, and the source. Images that `curator` rejects are drawn again, round by
    round; `short` counts those that are still missing after the last round, or when a Finite generator has no more.
    """
    with store.scratch() as scratch:
        with image_writer(scratch, sum(counts.values()), train.spec) as pool:
            rng = torch_stream(seed, "synthesis")
            once = generator.without_replacement(rng) if isinstance(generator, Finite) else generator
            filling = _Filling(once, counts, pool, curator, class_of)
            filling.run(rng)
        rows = filling.rows()
        labels = filling.classes(np.repeat(np.array(list(filling.planned), np.int64), list(filling.done.values())))
        ids = [f"{name}/{seed}/{row}" for row in range(len(rows))]
        keep_rows(scratch, rows)
        table = _provenance(ids, filling.parents[rows], train, name)
        write_labels(scratch, labels, train.classes, table)
        images = store.adopt("images", scratch)
    values = {check: measured[rows] for check, measured in filling.values.items()}
    checks = store.put_table("checks", pd.DataFrame({"id": ids, **values}))
    return Sampled(images, checks, filling.short())


def _provenance(ids: list[str], parents: Rows, train: ImageSet, name: str) -> pd.DataFrame:
    groups, of_parents = np.asarray(ids, object), np.full(len(ids), "", object)
    known = parents >= 0
    groups[known] = train.table["group"].to_numpy()[parents[known]]
    of_parents[known] = train.table["id"].to_numpy()[parents[known]]
    return provenance(
        ids, origin=SYNTHETIC, groups=groups.tolist(), parents=of_parents.tolist(), sources=[name] * len(ids)
    )


@dataclass
class _Filling:
    """Fills the planned counts: each class owns a contiguous range of `pool`, filled from its start."""

    generator: Generator
    counts: Counts
    pool: NDArray[np.uint8]
    curator: Filter | None
    class_of: Sequence[int] = ()
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.planned = {c: n for c, n in sorted(self.counts.items()) if n > 0}
        self.done, self.drawn, self.accepted = (dict.fromkeys(self.planned, 0) for _ in range(3))
        ends = np.cumsum(list(self.planned.values()))
        self._start = dict(zip(self.planned, [0, *ends[:-1].tolist()], strict=False))
        self.parents = np.full(len(self.pool), -1, np.int64)
        self._available = available(self.generator)

    def classes(self, labels: Rows) -> Rows:
        """The class of each of the generator's labels."""
        return np.array(self.class_of, np.int64)[labels] if self.class_of else labels

    def run(self, rng: torch.Generator) -> None:
        """Draw until the plan is met or no round is left."""
        for _ in range(self.curator.rounds if self.curator else 1):
            labels = [torch.full((self._to_draw(c),), c) for c in self.planned if self._hopeful(c)]
            if not labels:
                return
            for chunk in torch.cat(labels).to(torch.int64).split(AT_ONCE):
                self._take(draw(self.generator, chunk, rng), chunk.numpy())
                release(self.pool)

    def _missing(self, label: int) -> int:
        return self.planned[label] - self.done[label]

    def _hopeful(self, label: int) -> bool:
        """Whether a class lacks images, and candidates of it have a chance to be accepted."""
        hopeless = self.drawn[label] >= HOPELESS and self.accepted[label] == 0
        return self._missing(label) > 0 and self._left(label) > 0 and not hopeless

    def _left(self, label: int) -> float:
        """Images of a class that the generator can still draw."""
        return math.inf if self._available is None else self._available[label] - self.drawn[label]

    def _to_draw(self, label: int) -> int:
        """Candidates to draw for a class: the missing images over the acceptance rate so far."""
        missing = self._missing(label)
        if self.curator is None:
            return int(min(missing, self._left(label)))
        rate = self.accepted[label] / self.drawn[label] if self.drawn[label] else 1.0
        return int(min(math.ceil(missing * self.curator.oversample / max(rate, LEAST_RATE)), self._left(label)))

    def _take(self, drawn: Derived, labels: Rows) -> None:
        images = drawn.images.numpy()
        rows, values = np.arange(len(labels)), dict[str, NDArray[np.float32]]()
        if self.curator is not None:
            rows, check_values = self.curator.check(images, self.classes(labels))
            values = dict(check_values)
        for label in np.unique(labels).tolist():
            accepted = np.flatnonzero(labels[rows] == label)
            self.drawn[label] += int((labels == label).sum())
            self.accepted[label] += len(accepted)
            accepted = accepted[: self._missing(label)]
            places = self._start[label] + self.done[label] + np.arange(len(accepted))
            self.pool[places] = images[rows[accepted]]
            self.parents[places] = drawn.parents.numpy()[rows[accepted]]
            for check, measured in values.items():
                self.values.setdefault(check, np.full(len(self.pool), np.nan, np.float32))
                self.values[check][places] = measured[accepted]
            if self.curator is not None:
                self.curator.keep(images[rows[accepted]], self.classes(labels[rows[accepted]]))
            self.done[label] += len(accepted)

    def rows(self) -> Rows:
        """Filled rows of the pool, in order."""
        parts: Iterator[Rows] = (self._start[c] + np.arange(n) for c, n in self.done.items())
        return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)

    def short(self) -> dict[int, int]:
        """Class → images missing, for classes that lack any."""
        missing: dict[int, int] = {}
        for label in self.planned:
            if lacking := self._missing(label):
                name = int(self.classes(np.array([label]))[0])
                missing[name] = missing.get(name, 0) + lacking
        return missing


def labels_of(counts: Counts, n: int, generator: Generator | None = None) -> torch.Tensor:
    """n labels of each class that has images, int64, in class order; fewer where a Finite `generator` has fewer."""
    have = torch.tensor([label for label, count in counts.items() if count > 0], dtype=torch.int64)
    limit = None if generator is None else available(generator)
    if limit is None:
        return have.repeat_interleave(n)
    return have.repeat_interleave(torch.tensor([min(n, limit[label]) for label in have.tolist()], dtype=torch.int64))


def available(generator: Generator) -> Counts | None:
    """Number of images of each class that a generator can draw; None if it draws any number."""
    return generator.available if isinstance(generator, Finite) else None


def draw(generator: Generator, labels: torch.Tensor, rng: torch.Generator) -> Derived:
    """Images and the train rows that they derive from; -1 for images generated from noise."""
    if isinstance(generator, Deriving):
        return generator.derive(labels, rng)
    images = generator.sample(labels, rng)
    return Derived(images, torch.full((len(labels),), -1, dtype=torch.int64))


def synthetic_set(images: torch.Tensor, labels: torch.Tensor, like: ImageSet) -> ImageSet:
    """Images without parents as a set, for measuring."""
    ids = [str(row) for row in range(len(labels))]
    return ImageSet(images.numpy(), labels.numpy(), like.classes, provenance(ids, origin="synthetic"))
