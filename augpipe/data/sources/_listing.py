"""What a source says it holds, before any picture is read: columns with an entry an image."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._pictures import Blob

SPLITS: Final = ("train", "val", "test")
# What folders and columns call them.
SPLIT_NAMES: Final = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
Rows = NDArray[np.int64]


def _whole(path: Path) -> Path:
    # Told in full, the experiment can be run again from anywhere.
    return path.expanduser().absolute()


def _not_twice(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for name in names or ():
        if names and names.count(name) > 1:
            # Its pictures would be two classes, and stand on both sides of the split.
            raise ValueError(f"the class {name!r} is given twice")
    return names


WholePath = Annotated[Path, AfterValidator(_whole)]
Classes = Annotated[
    tuple[str, ...] | None, Field(default=None, min_length=2), AfterValidator(_not_twice)
]


@dataclass(frozen=True)
class Bad:
    """A file or row that cannot be used, and why."""

    id: str
    reason: str
    label: str = ""


Fetch = Callable[[Rows], Iterator[Blob]]


@dataclass(frozen=True)
class Listing:
    """Images that can be asked for, row by row.

    ids: unique names that do not change from machine to machine. labels: int64 (N,), places in `classes`.
    fetch: rows, ascending → a blob for each, in that order; one open file serves them all.
    groups, splits ("train", "val" or "test"), weights: None where there are none.
    bad: what cannot be used, known without reading. lost: folders that could not be entered, with the reason; a
    run stops at one, for what is in them is missing. ignored: suffixes of files that are no pictures.
    notes: what the user should know about how it was read.
    """

    ids: Sequence[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    fetch: Fetch
    groups: NDArray[np.object_] | None = None
    splits: NDArray[np.object_] | None = None
    weights: NDArray[np.float64] | None = None
    bad: tuple[Bad, ...] = ()
    lost: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self) -> dict[str, int]:
        """Images of each class, zeros included."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, (int(n) for n in found), strict=True))


def labelled(
    names: Sequence[str] | NDArray[np.object_], classes: tuple[str, ...] | None, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class names row by row → labels and classes: as asked, else sorted; -1 for a class left out.

    UserError where a class that was asked for does not occur.
    """
    import pandas as pd  # only where a source is read: its options are needed without

    # As objects: an array of text is as wide as its longest name.
    codes, have = pd.factorize(np.asarray(names, dtype=object), sort=True)
    present = [str(name) for name in have]
    if classes is None:
        return codes.astype(np.int64), tuple(present)
    for name in classes:
        if name not in present:
            raise UserError(f"no class {name!r} in {where}; have {choices(present)}")
    place = {name: at for at, name in enumerate(classes)}
    of = np.array([place.get(name, -1) for name in present], np.int64)
    return of[codes], classes


def one_spelling(names: Iterable[str], where: str) -> None:
    """UserError where labels write one number in two ways: 1 and 1.0 would be two classes."""
    seen: dict[float, str] = {}
    for name in names:
        try:
            number = float(name)
        except ValueError:
            continue
        if number in seen:
            raise UserError(
                f"the labels {seen[number]!r} and {name!r} of {where} are one number in two spellings; write one"
            )
        seen[number] = name


def alike(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Class names that differ only in case, spaces around them, or Unicode's spelling of a letter."""
    seen: dict[str, list[str]] = {}
    for name in classes:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        seen.setdefault(key, []).append(name)
    return [tuple(names) for names in seen.values() if len(names) > 1]


def known_split(name: str, where: str) -> str:
    """`Validation` → `val`; UserError for a word that names no split."""
    found = SPLIT_NAMES.get(name.strip().lower())
    if found is None:
        raise UserError(f"unknown split {name!r} in {where}; have {choices(SPLIT_NAMES)}")
    return found


def only(listing: Listing, keep: NDArray[np.bool_]) -> Listing:
    """The rows at which `keep` is true."""
    rows = np.flatnonzero(keep).astype(np.int64)
    if len(rows) == len(listing):
        return listing

    def fetch(asked: Rows) -> Iterator[Blob]:
        return listing.fetch(rows[asked])

    return replace(
        listing,
        ids=[listing.ids[int(row)] for row in rows],
        labels=listing.labels[rows],
        groups=None if listing.groups is None else listing.groups[rows],
        splits=None if listing.splits is None else listing.splits[rows],
        weights=None if listing.weights is None else listing.weights[rows],
        fetch=fetch,
    )
