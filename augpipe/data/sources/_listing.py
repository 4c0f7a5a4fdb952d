"""Listing of a source's images before any picture is read: columns with one entry per image."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from augpipe.core.counts import counts_of
from augpipe.core.errors import UserError, choices, several, unknown
from augpipe.core.yaml_loader import as_yaml
from augpipe.data.sources._pictures import Blob

PLAIN_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
SPLITS: Final = ("train", "val", "test")
# Names of splits in folders and columns → split.
SPLIT_NAMES: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
Rows = NDArray[np.int64]
MOST_CLASSES: Final = 10_000
MOST_VALUES: Final = 20  # of an attribute


def _absolute(path: Path) -> Path:
    # An absolute path lets the experiment be rerun from any working directory.
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{str(path)!r} begins with a user's home, which is not known") from None


def _unique(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for name in names or ():
        if names and names.count(name) > 1:
            # A name must identify one class.
            raise ValueError(f"duplicate class {name!r}")
    return names


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"duplicate attribute {name!r}")
    return names


def _as_text(names: Any) -> Any:
    """`[0, 2]` of YAML → `["0", "2"]`: classes may be called by numbers."""
    if not isinstance(names, list | tuple):
        return names
    return tuple(str(n) if isinstance(n, int) and not isinstance(n, bool) else n for n in names)


def _with_text_keys(value: Any) -> Any:
    """`{0: train}` of YAML → `{"0": train}`."""
    if not isinstance(value, Mapping):
        return value
    for split in value.values():
        if split not in SPLITS:
            raise unknown("split in source.splits", split, SPLITS)
    return {str(key): split for key, split in value.items()}


def as_sequence(value: Any) -> Any:
    """One path or text → a list of it."""
    return [value] if isinstance(value, str | Path) else value


def _known_encoding(name: str | None) -> str | None:
    try:
        "".encode(name or "utf-8")  # a codec of bytes, such as base64, is none of text
    except LookupError:
        raise UserError(f"unknown encoding {name!r}; use one of Python's, such as utf-8, cp1252, gbk") from None
    return name


Encoding = Annotated[str | None, AfterValidator(_known_encoding)]
Texts = Annotated[tuple[str, ...], BeforeValidator(as_sequence)]
Meanings = Annotated[
    Mapping[str, Literal["train", "val", "test"]], Field(default_factory=dict), BeforeValidator(_with_text_keys)
]
WholePath = Annotated[Path, AfterValidator(_absolute)]
Attributes = Annotated[tuple[str, ...], BeforeValidator(as_sequence), AfterValidator(_different)]
Paths = Annotated[  # one or several
    tuple[WholePath, ...],
    BeforeValidator(as_sequence, json_schema_input_type=Path | tuple[Path, ...]),
    Field(min_length=1),
]
Classes = Annotated[
    tuple[str, ...] | None,
    Field(default=None, min_length=2),
    BeforeValidator(_as_text, json_schema_input_type=tuple[str | int, ...] | None),
    AfterValidator(_unique),
]


@dataclass(frozen=True)
class Bad:
    """A file or row that cannot be used, and why. split: of one that only lacks a label."""

    id: str
    reason: str
    label: str = ""
    split: str = ""


Fetch = Callable[[Rows], Iterator[Blob]]


@dataclass(frozen=True)
class Listing:
    """Images of a source, which are fetched by row.

    ids: unique names, the same on every machine. labels: int64 (N,), indices into `classes`. fetch: ascending rows →
    one blob per row, in that order; files stay open between rows. groups, splits ("train", "val" or "test"), weights:
    None if the source has none. bad: files or rows known to be unusable without reading pictures. lost: folders that
    could not be read, with the reason; a run stops if there is one, because its files are missing. ignored: suffix →
    number of files that are not pictures. notes: messages to the user about how the source was read. attributes: name →
    text of each image (N,), "" for none: by its values the test images are scored too.
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
    attributes: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self) -> dict[str, int]:
        """Number of images per class, including zeros."""
        counts = counts_of(self.labels, len(self.classes))
        return dict(zip(self.classes, counts.values(), strict=True))


def evenly(n: int, most: int) -> Rows:
    """At most so many of n rows, evenly spaced and ascending: a sample that is the same on every machine."""
    return np.linspace(0, n - 1, min(most, n)).astype(np.int64)


def without_labels(ids: Sequence[str], fetch: Fetch, bad: tuple[Bad, ...] = ()) -> Listing:
    """Images whose labels nobody knows: all of one class without a name."""
    return Listing(ids, np.zeros(len(ids), np.int64), ("",), fetch, bad=bad)


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
            raise unknown(f"class in source.classes of {where}", name, present)
    index = {name: label for label, name in enumerate(classes)}
    label_of_code = np.array([index.get(name, -1) for name in present], np.int64)
    return label_of_code[codes], classes


def classes_option(names: Sequence[str]) -> str:
    """`--set 'source.classes=[a, b]'`, which uses only these classes."""
    return f"--set {shlex.quote(f'source.classes=[{choices(as_yaml(name) for name in names)}]')}"


def one_spelling(names: Iterable[str], where: str) -> None:
    """UserError if labels spell one number in two ways: 1 and 1.0 would be two classes. 1_0 and 1e1 are text."""
    seen: dict[float, str] = {}
    for name in names:
        if PLAIN_NUMBER.fullmatch(name) is None:
            continue
        number = float(name)
        if number in seen:
            raise UserError(
                f"the labels {seen[number]!r} and {name!r} of {where} are the same number; use one spelling"
            )
        seen[number] = name


def check_names(names: Iterable[str], column: str, where: str) -> None:
    """UserError if labels look like a continuous value or spell one number in two ways."""
    different = set(names)
    if len(different) > MOST_CLASSES:
        raise UserError(f"the {column} of {where} has {len(different):,} different labels, too many for a class column")
    one_spelling(sorted(different), where)


def alike(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of class names that differ only in case, white space or Unicode normalisation."""
    seen: dict[str, list[str]] = {}
    for name in classes:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        seen.setdefault(key, []).append(name)
    return [tuple(names) for names in seen.values() if len(names) > 1]


def check_attributes(listing: Listing, where: str) -> None:
    """UserError for an attribute with a single value, or with more than MOST_VALUES."""
    for name, values in listing.attributes.items():
        n = len(set(values.tolist()) - {""})
        if not 2 <= n <= MOST_VALUES:
            raise UserError(
                f"the attribute {name!r} of {where} has {several(n, 'value')}; source.attributes needs 2 to "
                f"{MOST_VALUES}: bring numbers into ranges, or leave it out"
            )


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
        attributes={name: values[rows] for name, values in listing.attributes.items()},
        fetch=fetch,
    )
