"""How often synthetic images come, and how many of them, chosen on val by successive halving (Jamieson & Talwalkar 2016).

Every candidate trains a classifier for a part of its steps; the better half by val goes on, from the start, with twice
the steps, until one is left. With `share: per_class` one of those that go on is put together from what the first round
said of each class. Whoever searches more has more chances to be lucky on val: that is why test is scored once,
after all is chosen, and why the steps spent are counted and told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.classifiers.options import Mix
from augpipe.classifiers.plans import Share
from augpipe.core.images import ImageSet

SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.5)
PARTS: Final = (0.25, 0.5, 1.0)  # of the images that were made
FIRST: Final = {
    True: 4,
    False: 8,
}  # the first rung's part of the steps is one in so many: of few candidates, of many
FEW: Final = 8


class Candidate(NamedTuple):
    """share: see `Mix`. part: of each class's synthetic images that stand in the pool."""

    share: Share
    part: float


class Seen(NamedTuple):
    """What val says of a candidate: macro recall, loss, and the recall of each class that has synthetic images."""

    recall: float
    loss: float
    of_class: Mapping[str, float] = MappingProxyType({})


# What goes on beside the better half of the first round, made of all that it showed.
Join = Callable[[Sequence[tuple[Candidate, Seen]]], Candidate]


class Tried(NamedTuple):
    """A candidate after `steps` of training; it stayed where it was among the better half."""

    rung: int
    candidate: Candidate
    steps: int
    recall: float  # macro recall on val
    loss: float  # on val
    stayed: bool


def candidates(mix: Mix) -> list[Candidate]:
    """All that the mix leaves open, with what it fixes."""
    shares: Sequence[Share] = SHARES if mix.share in ("auto", "per_class") else (mix.share,)
    parts = PARTS if mix.fill == "search" else (1.0,)
    return [Candidate(share, part) for part in parts for share in shares]


def joins(mix: Mix) -> Join | None:
    """`class_by_class` where the mix leaves each class's share open."""
    return class_by_class if mix.share == "per_class" else None


def class_by_class(seen: Sequence[tuple[Candidate, Seen]]) -> Candidate:
    """Each class at the share with which val told most of its images right; of equal ones, the smallest.

    Of the part that the best candidate has. In the first round all classes had one share at a time, and a class may have
    been told right because others were told wrong: whether the shares stand well beside each other is seen in the next.
    """
    part = _ranked(seen)[0][0].part
    own = [(c.share, s) for c, s in seen if c.part == part and isinstance(c.share, float)]
    chosen = {}
    for name in own[0][1].of_class:
        chosen[name] = max(own, key=lambda one: (one[1].of_class[name], -one[0]))[0]
    return Candidate(chosen, part)


def _ranked(seen: Sequence[tuple[Candidate, Seen]]) -> list[tuple[Candidate, Seen]]:
    return sorted(seen, key=lambda one: (-one[1].recall, one[1].loss))


def settled(mix: Mix, chosen: Candidate) -> Mix:
    """The mix with the chosen share; its fill is in the images that are left (see `rows_of`)."""
    return mix.model_copy(update={"share": chosen.share})


def rows_of(made: ImageSet, part: float) -> NDArray[np.int64]:
    """Rows of the first images of each class, `part` of them, rounded up."""
    found = []
    for label, n in made.counts().items():
        found.append(np.flatnonzero(made.labels == label)[: math.ceil(part * n)])
    return np.sort(np.concatenate(found)).astype(np.int64)


def halve(
    open_: Sequence[Candidate],
    steps: int,
    attempt: Callable[[Candidate, int], Seen],
    join: Join | None = None,
) -> tuple[Candidate, list[Tried]]:
    """The last candidate left, and every attempt.

    attempt: (candidate, steps) → what val says. steps: of a whole training, never passed. join: makes one that takes the
    place of the last of those that the first round leaves, or stands beside the one that it leaves.
    """
    budget = math.ceil(steps / FIRST[len(open_) <= FEW])
    left, told, rung = list(open_), list[Tried](), 0
    while len(left) > 1:
        found = [(candidate, attempt(candidate, budget)) for candidate in left]
        better = [candidate for candidate, _ in _ranked(found)[: len(left) // 2]]
        if join is not None and rung == 0:
            better = [*better[: max(1, len(better) - 1)], join(found)]
        told += [Tried(rung, c, budget, s.recall, s.loss, c in better) for c, s in found]
        left, budget, rung = better, min(steps, 2 * budget), rung + 1
    return left[0], told


def steps_of(open_: Sequence[Candidate], steps: int, join: Join | None = None) -> int:
    """How many steps of training `halve` takes."""
    blind = None if join is None else (lambda seen: Candidate({}, 1.0))
    return sum(t.steps for t in halve(open_, steps, lambda candidate, n: Seen(0, 0), blind)[1])
