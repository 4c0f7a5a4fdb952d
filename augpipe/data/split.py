"""Train, val and test: the source's own, stratified, grouped, or a fold; drawn once for an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.options import SplitOptions

NAMES = ("train", "val", "test")
TRIES: Final = 20  # drawings of a grouped split, of which the one nearest to the shares is taken
SMALL: Final = 200  # groups of which MANY_TRIES cost little where a parting is hard to find
MANY_TRIES: Final = 400
MANY: Final = 5000  # groups from which on one drawing is as even as another
Rows = NDArray[np.int64]
Groups = NDArray[np.object_]


def split(
    labels: Rows,
    classes: Sequence[str],
    options: SplitOptions,
    rng: np.random.Generator,
    *,
    groups: Groups | None = None,
    official: Groups | None = None,
) -> tuple[str, dict[str, Rows]]:
    """The kind that was used, and disjoint, sorted rows of train, val and test that hold every row.

    groups: text (N,), None where every image is its own. official: "train", "val" or "test" (N,), None where
    the source has none. UserError where the kind asks for what is not there, or a class is too small.
    """
    kind = options.kind
    if kind == "auto":
        kind = "official" if official is not None else "stratified" if groups is None else "grouped"
    if kind == "official":
        if official is None:
            raise UserError("split.kind is official, and the source has no split of its own")
        return kind, _official(labels, classes, options, rng, groups, official)
    if kind == "grouped":
        if groups is None:
            raise UserError("split.kind is grouped, and the source has no groups")
        return kind, grouped(labels, classes, groups, _shares(options), rng)
    if kind == "k_fold":
        return kind, k_fold(labels, classes, options, rng, groups)
    return kind, stratified(labels, classes, _shares(options), rng)


def stratified(
    labels: Rows,
    classes: Sequence[str],
    shares: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, Rows]:
    """Each class gives round(share · n) images to every side but the first, which takes the rest; at least one each.

    UserError where a class has fewer images than there are sides.
    """
    first, *others = shares
    rows: dict[str, list[Rows]] = {name: [] for name in shares}
    for label, name in enumerate(classes):
        own = rng.permutation(np.flatnonzero(labels == label))
        if len(own) < len(shares):
            raise UserError(
                f"class {name!r} has {several(len(own), 'image')}; {' and '.join((', '.join([first, *others[:-1]]), others[-1]))} "
                f"need at least {len(shares)}: add images or leave the class out (min_images: {len(shares)})"
            )
        sizes = [max(1, round(shares[side] * len(own))) for side in others]
        # Rounding up may eat a tiny class whole; the largest side gives back, the last of equals first.
        while sum(sizes) >= len(own):
            largest = max(range(len(sizes)), key=lambda at: (sizes[at], at))
            sizes[largest] -= 1
        ends = np.cumsum(sizes)
        for side, part in zip([*others, first], np.split(own, ends), strict=True):
            rows[side].append(part)
    return {name: np.sort(np.concatenate(parts)).astype(np.int64) for name, parts in rows.items()}


def grouped(
    labels: Rows,
    classes: Sequence[str],
    groups: Groups,
    shares: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, Rows]:
    """Whole groups to the sides of `shares`, each class as near to its shares as the groups allow.

    Iterative stratification (Sechidis et al. 2011) over groups: the class with the fewest groups left goes
    first, its largest group to the side that lacks most of that class; every class gets to every side. The
    best of TRIES drawings. UserError where a class has fewer groups than there are sides.
    """
    member, names = pd.factorize(groups, sort=True)
    table = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(table, (member, labels), 1)
    per_class = (table > 0).sum(0)
    for label, name in enumerate(classes):
        if per_class[label] < len(shares):
            raise UserError(
                f"class {name!r} has {per_class[label]} group{'' if per_class[label] == 1 else 's'}; "
                f"{', '.join(shares)} need at least {len(shares)}, as no group stands on two sides: add "
                "groups, leave the class out, or set split.kind: stratified where groups do not matter"
            )
    wanted = np.array(list(shares.values()))[:, None] * table.sum(0)
    best: tuple[float, NDArray[np.int64]] | None = None
    most = TRIES if len(names) <= MANY else 2
    for n in range(MANY_TRIES if len(names) <= SMALL else most):
        if n >= most and best is not None:
            break
        sides = _assign(table, wanted, rng)
        have = np.stack([table[sides == side].sum(0) for side in range(len(shares))])
        if (have == 0).any():
            continue
        off = float((np.abs(have - wanted) / table.sum(0)).sum())
        if best is None or off < best[0]:
            best = (off, sides)
    if best is None:
        raise UserError(
            "no parting of the groups was found that brings every class to every side: few "
            "groups hold several classes at once; another split.seed may, or set split.kind: stratified "
            "where groups do not matter"
        )
    return {
        name: np.flatnonzero(best[1][member] == side).astype(np.int64)
        for side, name in enumerate(shares)
    }


def _assign(
    table: NDArray[np.int64], wanted: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Groups x classes of counts, sides x classes of wishes → a side for each group."""
    n_sides = len(wanted)
    sides = np.full(len(table), -1, np.int64)
    lack = wanted.astype(np.float64).copy()
    holds = np.zeros(wanted.shape, bool)
    left = (table > 0).sum(0)
    tie = rng.random((len(table), n_sides))
    # Each class's groups, largest first; a pointer skips those that another class has placed.
    order = [np.lexsort((tie[:, 0], -table[:, c])) for c in range(table.shape[1])]
    at = [0] * table.shape[1]
    for _ in range(len(table)):
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        while sides[order[label][at[label]]] >= 0:
            at[label] += 1
        group = order[label][at[label]]
        without = np.flatnonzero(~holds[:, label])
        # As many groups left as sides that have none: each of those gets one.
        among = without if len(without) >= left[label] else np.arange(n_sides)
        best = np.lexsort((tie[group, among], -lack[among].sum(1), -lack[among, label]))[0]
        side = among[best]
        sides[group] = side
        lack[side] -= table[group]
        holds[side] |= table[group] > 0
        left -= table[group] > 0
    return sides


def k_fold(
    labels: Rows,
    classes: Sequence[str],
    options: SplitOptions,
    rng: np.random.Generator,
    groups: Groups | None = None,
) -> dict[str, Rows]:
    """`fold` of `folds` is test, the next one val, the rest train; equal `rng` states give one set of folds.

    By whole groups where there are any. UserError where a class has fewer images, or groups, than folds.
    """
    units = np.arange(len(labels)).astype(object) if groups is None else groups
    parts = [str(fold) for fold in range(options.folds)]
    if groups is None:
        folds = _even(labels, classes, len(parts), rng)
    else:
        made = grouped(labels, classes, units, dict.fromkeys(parts, 1 / len(parts)), rng)
        folds = np.empty(len(labels), np.int64)
        for name, rows in made.items():
            folds[rows] = int(name)
    val = (options.fold + 1) % options.folds
    return {
        "train": np.flatnonzero((folds != options.fold) & (folds != val)).astype(np.int64),
        "val": np.flatnonzero(folds == val).astype(np.int64),
        "test": np.flatnonzero(folds == options.fold).astype(np.int64),
    }


def _even(labels: Rows, classes: Sequence[str], n: int, rng: np.random.Generator) -> Rows:
    """A fold for each image: classes dealt out like cards, one after the other, so that folds are even."""
    folds = np.empty(len(labels), np.int64)
    dealt = 0
    for label, name in enumerate(classes):
        own = rng.permutation(np.flatnonzero(labels == label))
        if len(own) < n:
            raise UserError(f"class {name!r} has {len(own)} images; {n} folds need at least {n}")
        folds[own] = (dealt + np.arange(len(own))) % n
        dealt += len(own)
    return folds


def _official(
    labels: Rows,
    classes: Sequence[str],
    options: SplitOptions,
    rng: np.random.Generator,
    groups: Groups | None,
    official: Groups,
) -> dict[str, Rows]:
    """The source's own sides; one that it lacks is drawn from its train."""
    have = {name: np.flatnonzero(official == name).astype(np.int64) for name in NAMES}
    missing = [name for name in ("val", "test") if not len(have[name])]
    if not len(have["train"]):
        raise UserError("the source's own split has no train; set split.kind: stratified")
    train = have["train"]
    _check_sides(labels, classes, {name: have[name] for name in NAMES if name not in missing})
    if missing:
        shares = {name: getattr(options, name) for name in missing}
        shares = {"train": 1 - sum(shares.values()), **shares}
        own = labels[train]
        drawn = (
            stratified(own, classes, shares, rng)
            if groups is None
            else grouped(own, classes, groups[train], shares, rng)
        )
        have |= {name: train[rows] for name, rows in drawn.items()}
    return have


def _check_sides(labels: Rows, classes: Sequence[str], rows: Mapping[str, Rows]) -> None:
    """UserError where a side lacks a class."""
    for name, own in rows.items():
        absent = [c for label, c in enumerate(classes) if not (labels[own] == label).any()]
        if absent:
            raise UserError(
                f"the source's own {name} has no image of class {absent[0]!r}"
                + (f" and {len(absent) - 1} more" if len(absent) > 1 else "")
                + "; set split.kind: stratified, or leave the class out"
            )


def _shares(options: SplitOptions) -> dict[str, float]:
    return {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
