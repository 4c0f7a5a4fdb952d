"""sample(generator, plan) → image set on disk, streamed; drawn anew where a curator turns images away."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from augpipe.core.counts import Counts
from augpipe.core.images import SYNTHETIC, ImageSet, provenance
from augpipe.core.seeds import torch_stream
from augpipe.core.store import Ref, Store, image_writer, write_labels
from augpipe.generators.protocol import Derived, Deriving, Generator

AT_ONCE = 1024
LEAST_RATE: Final = 1 / 4  # of candidates kept that a round counts on at the least
HOPELESS: Final = 100  # candidates of a class of which none was kept: no more are drawn

Rows = NDArray[np.int64]
Values = Mapping[str, NDArray[np.float32]]


class Judge(Protocol):
    """Says which candidates may stay; see `curation.Curator`."""

    @property
    def rounds(self) -> int:
        """How often what is missing is drawn."""

    @property
    def oversample(self) -> float:
        """Candidates for one that is missing."""

    def judge(self, images: NDArray[np.uint8], labels: Rows) -> tuple[Rows, Values]:
        """Rows that may stay, and each check's values for them."""

    def keep(self, images: NDArray[np.uint8], labels: Rows) -> None:
        """Remember what was taken."""


@dataclass(frozen=True)
class Sampled:
    """images: what was made. checks: id and each check's value, a row an image. short: class → how many are missing."""

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
    judge: Judge | None = None,
) -> Sampled:
    """counts[c] images of each class c, in class order, written as they come.

    A synthetic image made from a train image carries that one's id as parent and its group; any other
    is a group of its own. `name` begins the ids and stands as the source. With a `judge`, what it turns away is
    drawn anew, round by round; what is still missing after the last one is said in `short`.
    """
    with (
        store.scratch() as scratch,
        image_writer(scratch, sum(counts.values()), train.spec) as pool,
    ):
        filling = _Filling(generator, counts, pool, judge)
        filling.run(torch_stream(seed, "synthesis"))
        rows = filling.rows()
        labels = np.repeat(np.array(list(filling.want), np.int64), list(filling.done.values()))
        ids = [f"{name}/{seed}/{row}" for row in range(len(rows))]
        table = _provenance(ids, filling.parents[rows], train, name)

        def write(folder: Path) -> None:
            with image_writer(folder, len(rows), train.spec) as out:
                for start in range(0, len(rows), AT_ONCE):
                    out[start : start + AT_ONCE] = pool[rows[start : start + AT_ONCE]]
            write_labels(folder, labels, train.classes, table)

        images = store.put("images", write)
    values = {check: found[rows] for check, found in filling.values.items()}
    checks = store.put_table("checks", pd.DataFrame({"id": ids, **values}))
    return Sampled(images, checks, filling.short())


def _provenance(ids: list[str], parents: Rows, train: ImageSet, name: str) -> pd.DataFrame:
    known = parents >= 0
    of_parent = np.where(known, parents, 0)
    return provenance(
        ids,
        origin=SYNTHETIC,
        groups=np.where(known, train.table["group"].to_numpy()[of_parent], ids).tolist(),
        parents=np.where(known, train.table["id"].to_numpy()[of_parent], "").tolist(),
        sources=[name] * len(ids),
    )


@dataclass
class _Filling:
    """A plan being met: each class has its stretch of `pool`, filled from its start."""

    generator: Generator
    counts: Counts
    pool: NDArray[np.uint8]
    judge: Judge | None
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.want = {c: n for c, n in sorted(self.counts.items()) if n > 0}
        self.done, self.drawn, self.kept = (dict.fromkeys(self.want, 0) for _ in range(3))
        ends = np.cumsum(list(self.want.values()))
        self._start = dict(zip(self.want, [0, *ends[:-1].tolist()], strict=False))
        self.parents = np.full(len(self.pool), -1, np.int64)

    def run(self, rng: torch.Generator) -> None:
        """Draw until the plan is met, or the rounds are over."""
        for _ in range(self.judge.rounds if self.judge else 1):
            asked = [torch.full((self._asked(c),), c) for c in self.want if self._hopeful(c)]
            if not asked:
                return
            for part in torch.cat(asked).to(torch.int64).split(AT_ONCE):
                self._take(draw(self.generator, part, rng), part.numpy())

    def _missing(self, label: int) -> int:
        return self.want[label] - self.done[label]

    def _hopeful(self, label: int) -> bool:
        """Whether a class misses images, and is worth another round."""
        tried = self.drawn[label] >= HOPELESS and self.kept[label] == 0
        return self._missing(label) > 0 and not tried

    def _asked(self, label: int) -> int:
        """Candidates of a class: those missing, over the share that was kept so far."""
        missing = self._missing(label)
        if self.judge is None:
            return missing
        rate = self.kept[label] / self.drawn[label] if self.drawn[label] else 1.0
        return math.ceil(missing * self.judge.oversample / max(rate, LEAST_RATE))

    def _take(self, made: Derived, labels: Rows) -> None:
        images = made.images.numpy()
        rows, values = np.arange(len(labels)), dict[str, NDArray[np.float32]]()
        if self.judge is not None:
            rows, told = self.judge.judge(images, labels)
            values = dict(told)
        for label in np.unique(labels).tolist():
            own = np.flatnonzero(labels[rows] == label)
            self.drawn[label] += int((labels == label).sum())
            self.kept[label] += len(own)
            own = own[: self._missing(label)]
            at = self._start[label] + self.done[label] + np.arange(len(own))
            self.pool[at] = images[rows[own]]
            self.parents[at] = made.parents.numpy()[rows[own]]
            for check, found in values.items():
                self.values.setdefault(check, np.full(len(self.pool), np.nan, np.float32))
                self.values[check][at] = found[own]
            if self.judge is not None:
                self.judge.keep(images[rows[own]], labels[rows[own]])
            self.done[label] += len(own)

    def rows(self) -> Rows:
        """Filled places of the pool, in order."""
        parts: Iterator[Rows] = (self._start[c] + np.arange(n) for c, n in self.done.items())
        return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)

    def short(self) -> dict[int, int]:
        """Class → images missing, of those where any are."""
        return {c: self._missing(c) for c in self.want if self._missing(c)}


def draw(generator: Generator, labels: torch.Tensor, rng: torch.Generator) -> Derived:
    """Images and the train rows they were made from, -1 where a generator makes them from noise."""
    if isinstance(generator, Deriving):
        return generator.derive(labels, rng)
    images = generator.sample(labels, rng)
    return Derived(images, torch.full((len(labels),), -1, dtype=torch.int64))


def synthetic_set(images: torch.Tensor, labels: torch.Tensor, like: ImageSet) -> ImageSet:
    """Images that have no parents as a set, for measuring."""
    ids = [str(row) for row in range(len(labels))]
    return ImageSet(
        images.numpy(), labels.numpy(), like.classes, provenance(ids, origin="synthetic")
    )
