"""Listing of a source's images before any picture is read: columns with one entry per image."""

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
# Names of splits in folders and columns → split.
SPLIT_NAMES: Final = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
Rows = NDArray[np.int64]


def _absolute(path: Path) -> Path:
    # An absolute path lets the experiment be rerun from any working directory.
    return path.expanduser().absolute()


def _unique(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for name in names or ():
        if names and names.count(name) > 1:
            # A name must identify one class.
            raise ValueError(f"duplicate class {name!r}")
    return names


WholePath = Annotated[Path, AfterValidator(_absolute)]
Classes = Annotated[
    tuple[str, ...] | None, Field(default=None, min_length=2), AfterValidator(_unique)
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
    """Images of a source, which are fetched by row.

    ids: unique names, the same on every machine. labels: int64 (N,), indices into `classes`.
    fetch: ascending rows → one blob per row, in that order; files stay open between rows.
    groups, splits ("train", "val" or "test"), weights: None if the source has none.
    bad: files or rows known to be unusable without reading pictures. lost: folders that could not be read, with the
    reason; a run stops if there is one, because its files are missing. ignored: suffix → number of files that are not
    pictures. notes: messages to the user about how the source was read.
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
        """Number of images per class, including zeros."""
        n_images = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, (int(n) for n in n_images), strict=True))


def labelled(
    names: Sequence[str] | NDArray[np.object_], classes: tuple[str, ...] | None, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class name of each row → labels int64 (N,) and classes; -1 for a class that is not in `classes`.

    classes: names in order; None: all, sorted. UserError if one of `classes` does not occur.
    """
    import pandas as pd  # imported late: the options do not need it

    # dtype object: a fixed-width text array would be as wide as its longest name.
    codes, have = pd.factorize(np.asarray(names, dtype=object), sort=True)
    present = [str(name) for name in have]
    if classes is None:
        return codes.astype(np.int64), tuple(present)
    for name in classes:
        if name not in present:
            raise UserError(f"no class {name!r} in {where}; choose from {choices(present)}")
    index = {name: label for label, name in enumerate(classes)}
    label_of_code = np.array([index.get(name, -1) for name in present], np.int64)
    return label_of_code[codes], classes


def one_spelling(names: Iterable[str], where: str) -> None:
    """UserError if labels spell one number in two ways: 1 and 1.0 would be two classes."""
    seen: dict[float, str] = {}
    for name in names:
        try:
            number = float(name)
        except ValueError:
            continue
        if number in seen:
            raise UserError(
                f"the labels {seen[number]!r} and {name!r} of {where} are the same number; use one spelling"
            )
        seen[number] = name


def alike(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of class names that differ only in case, white space or Unicode normalisation."""
    seen: dict[str, list[str]] = {}
    for name in classes:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        seen.setdefault(key, []).append(name)
    return [tuple(names) for names in seen.values() if len(names) > 1]


def known_split(name: str, where: str) -> str:
    """Name of a split → train, val or test (`Validation` → `val`); UserError for other names."""
    split = SPLIT_NAMES.get(name.strip().lower())
    if split is None:
        raise UserError(f"unknown split {name!r} in {where}; choose from {choices(SPLIT_NAMES)}")
    return split


def only(listing: Listing, keep: NDArray[np.bool_]) -> Listing:
    """Listing of the rows at which `keep` (bool (N,)) is true."""
    rows = np.flatnonzero(keep).astype(np.int64)
    if len(rows) == len(listing):
        return listing

    def fetch(requested: Rows) -> Iterator[Blob]:
        return listing.fetch(rows[requested])

    return replace(
        listing,
        ids=[listing.ids[int(row)] for row in rows],
        labels=listing.labels[rows],
        groups=None if listing.groups is None else listing.groups[rows],
        splits=None if listing.splits is None else listing.splits[rows],
        weights=None if listing.weights is None else listing.weights[rows],
        fetch=fetch,
    )
