"""How often synthetic images come, and how many of them, chosen on val by successive halving (Jamieson & Talwalkar 2016).

Every candidate trains a classifier for a part of its steps; the better half by val goes on, from the start, with twice
the steps, until one is left. Whoever searches more has more chances to be lucky on val: that is why test is scored once,
after all is chosen, and why the steps spent are counted and told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.counts import Share
from augpipe.images import ImageSet
from augpipe.mixing import Mix

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
    shares: Sequence[Share] = SHARES if mix.share == "auto" else (mix.share,)
    parts = PARTS if mix.fill == "search" else (1.0,)
    return [Candidate(share, part) for part in parts for share in shares]


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
    attempt: Callable[[Candidate, int], tuple[float, float]],
) -> tuple[Candidate, list[Tried]]:
    """The last candidate left, and every attempt.

    attempt: (candidate, steps) → (macro recall, loss) on val. steps: of a whole training, never passed.
    """
    budget = math.ceil(steps / FIRST[len(open_) <= FEW])
    left, told, rung = list(open_), list[Tried](), 0
    while len(left) > 1:
        found = [(candidate, *attempt(candidate, budget)) for candidate in left]
        ranked = sorted(found, key=lambda one: (-one[1], one[2]))
        better = [candidate for candidate, _, _ in ranked[: len(left) // 2]]
        told += [Tried(rung, c, budget, recall, loss, c in better) for c, recall, loss in found]
        left, budget, rung = better, min(steps, 2 * budget), rung + 1
    return left[0], told


def steps_of(open_: Sequence[Candidate], steps: int) -> int:
    """How many steps of training `halve` takes."""
    return sum(tried.steps for tried in halve(open_, steps, lambda candidate, n: (0.0, 0.0))[1])
