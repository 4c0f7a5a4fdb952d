"""Search on val for the share and number of synthetic images, by successive halving (Jamieson & Talwalkar 2016).

Every candidate trains a classifier for a fraction of the steps; the better half by val is trained again, from the
start, with twice the steps, until one is left. With `share: per_class`, the first round also yields a candidate that
combines the best share of each class. A longer search is more likely to overfit val: therefore test is scored only
once, after the search, and the steps spent are counted and reported.
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
PARTS: Final = (0.25, 0.5, 1.0)  # fractions of the synthetic images
# The first rung takes 1 / FIRST of the steps: with at most FEW candidates, with more.
FIRST: Final = {True: 4, False: 8}
FEW: Final = 8


class Candidate(NamedTuple):
    """share: see `Mix`. part: fraction of each class's synthetic images that is in the pool."""

    share: Share
    part: float


class Seen(NamedTuple):
    """A candidate's results on val: macro recall, loss, and recall of each class that has synthetic images."""

    recall: float
    loss: float
    of_class: Mapping[str, float] = MappingProxyType({})


# All results of the first round → one more candidate for the second.
Join = Callable[[Sequence[tuple[Candidate, Seen]]], Candidate]


class Trial(NamedTuple):
    """A candidate after `steps` of training. stayed: whether it was among the better half."""

    rung: int
    candidate: Candidate
    steps: int
    recall: float  # macro recall on val
    loss: float  # on val
    stayed: bool


def candidates(mix: Mix) -> list[Candidate]:
    """Every combination of the values that the mix leaves open, with those that it fixes."""
    shares: Sequence[Share] = SHARES if mix.share in ("auto", "per_class") else (mix.share,)
    parts = PARTS if mix.fill == "search" else (1.0,)
    return [Candidate(share, part) for part in parts for share in shares]


def joins(mix: Mix) -> Join | None:
    """`class_by_class` if the mix leaves the share of each class open, else None."""
    return class_by_class if mix.share == "per_class" else None


def class_by_class(seen: Sequence[tuple[Candidate, Seen]]) -> Candidate:
    """Combine, for each class, the share with the best recall of that class on val; ties: the smallest share.

    Only results with the part of the best candidate count. In the first round all classes have the same share, and one
    class may gain recall at the cost of others: whether the shares work together is measured in the second round.
    """
    part = _ranked(seen)[0][0].part
    results = [(c.share, s) for c, s in seen if c.part == part and isinstance(c.share, float)]
    share_of_class = {}
    for name in results[0][1].of_class:
        share_of_class[name] = max(results, key=lambda result: (result[1].of_class[name], -result[0]))[0]
    return Candidate(share_of_class, part)


def _ranked(results: Sequence[tuple[Candidate, Seen]]) -> list[tuple[Candidate, Seen]]:
    return sorted(results, key=lambda result: (-result[1].recall, result[1].loss))


def settled(mix: Mix, chosen: Candidate) -> Mix:
    """The mix with the chosen share; the chosen part is applied to the images (see `rows_of`)."""
    return mix.model_copy(update={"share": chosen.share})


def rows_of(synthetic: ImageSet, part: float) -> NDArray[np.int64]:
    """Rows of the first images of each class, `part` of them, rounded up."""
    rows = []
    for label, n in synthetic.counts().items():
        rows.append(np.flatnonzero(synthetic.labels == label)[: math.ceil(part * n)])
    return np.sort(np.concatenate(rows)).astype(np.int64)


def halve(
    open_: Sequence[Candidate], steps: int, attempt: Callable[[Candidate, int], Seen], join: Join | None = None
) -> tuple[Candidate, list[Trial]]:
    """Successive halving: the last remaining candidate, and every trial.

    attempt: (candidate, steps) → results on val. steps: of a full training, the upper limit. join: makes a candidate
    that replaces the worst of those that pass the first round, or is added if only one passes.
    """
    budget = math.ceil(steps / FIRST[len(open_) <= FEW])
    remaining, trials, rung = list(open_), list[Trial](), 0
    while len(remaining) > 1:
        results = [(candidate, attempt(candidate, budget)) for candidate in remaining]
        better = [candidate for candidate, _ in _ranked(results)[: len(remaining) // 2]]
        if join is not None and rung == 0:
            better = [*better[: max(1, len(better) - 1)], join(results)]
        trials += [Trial(rung, c, budget, s.recall, s.loss, c in better) for c, s in results]
        remaining, budget, rung = better, min(steps, 2 * budget), rung + 1
    return remaining[0], trials


def steps_of(open_: Sequence[Candidate], steps: int, join: Join | None = None) -> int:
    """Total number of training steps that `halve` takes."""
    blind = None if join is None else (lambda seen: Candidate({}, 1.0))
    return sum(t.steps for t in halve(open_, steps, lambda candidate, n: Seen(0, 0), blind)[1])
