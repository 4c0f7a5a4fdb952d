"""Columns that hold the user's own split - of a table, of Parquet, of .json files - and what their values mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.yaml_loader import as_yaml
from augpipe.data.sources._listing import SPLIT_NAMES, Bad, Rows
from augpipe.data.sources._settings import unquoted
from augpipe.data.sources._unused import MISSING, ends

# Names by their letters alone; the values decide.
SPLIT_COLUMNS: Final = re.compile(
    r"(data)?(split|set|subset)s?(name|type)?|partition(name)?|part|(cv|k)?folds?(id|no|nr|number|index)?|phase|usage"
    r"|train(ing)?(or)?(val(id|idation)?)?(or)?test(ing)?(split|set)?"
)
IS_SPLIT: Final = re.compile(r"(is|in)(train|training|test|testing|val|valid|validation)(image|set|split|sample)?")
FOLDS: Final = re.compile(r"(cv|k)?folds?(id|no|nr|number|index)?")
NUMBERED: Final = re.compile(r"(data)?split(name|type)?|partition(name)?")  # as CelebA's
YES, NO = ("true", "1", "yes"), ("false", "0", "no")
MOST: Final = 20  # values of a split
SPLIT: Final = "split"  # the column that is used without being set
NO_SPLIT: Final = "no split, although other {} have one: write train, val or test, or leave them out"


def may_be_split(name: str) -> bool:
    """Whether a column is called as splits are."""
    return any(SPLIT_COLUMNS.fullmatch(end) for end in ends(name)) or _is_one(name) is not None


def check_split_columns(
    columns: Mapping[str, NDArray[Any]],
    where: str,
    ignored: Collection[str],
    what: str = "column",
    setting: str = "source.columns.split",
) -> tuple[str, ...]:
    """UserError if an unused column has a split by its name and values; a note on numbered folds.

    columns: unused ones, name → text (N,). ignored: names that the user declared unused. what: column or key. setting:
    of the column of splits.
    """
    notes = []
    for name, values in columns.items():
        have = [] if name in ignored else present(values)
        if is_split(name, have):
            column = unquoted(setting, name)
            raise UserError(
                f"{where} has the {what} {name!r} with {choices(have)}, which looks like its split, and is not used: "
                f"use it ({_options(column, mapping_of(name, have))}), or draw another split (--set "
                f"{shlex.quote(f'source.ignore=[{as_yaml(name)}]')})"
            )
        if any(map(NUMBERED.fullmatch, ends(name))) and 2 <= len(have) <= 3 and _are_numbers(have):
            notes.append(
                f"the {what} {name!r} may number train, val and test, and is not used: to use it, "
                f"{_options(unquoted(setting, name), mapping_of(name, have))}"
            )
        if any(map(FOLDS.fullmatch, ends(name))) and 2 <= len(have) <= MOST and _are_numbers(have):
            folds = dict.fromkeys(have, "train") | {have[0]: "test"}
            notes.append(
                f"the {what} {name!r} numbers folds, and is not used: to take one as test, "
                f"{_options(unquoted(setting, name), folds)}"
            )
    return tuple(notes)


class Settings(Protocol):
    """What the config of Parquet or WebDataset says of its split."""

    @property
    def split(self) -> str | None: ...
    @property
    def splits(self) -> Mapping[str, str]: ...
    @property
    def ignore(self) -> tuple[str, ...]: ...


class OwnSplit(NamedTuple):
    """train, val, test of each image (N,), "" without one, None if the source has no split; the column; notes."""

    values: NDArray[np.object_] | None
    column: str | None = None
    notes: tuple[str, ...] = ()

    def retained(self, labels: NDArray[np.int64]) -> Rows:
        """Rows with a label (0 or more), and with a split where other images have one."""
        has_split = labels >= 0 if self.values is None else self.values != ""
        return np.flatnonzero((labels >= 0) & has_split)

    def at(self, rows: Rows) -> NDArray[np.object_] | None:
        """The splits of some rows."""
        return None if self.values is None else self.values[rows]

    def bad(
        self, ids: Sequence[str] | NDArray[np.object_], labels: NDArray[np.int64], classes: Sequence[str]
    ) -> Iterator[Bad]:
        """The images with a label that have no split, although others have one."""
        if self.values is not None:
            for row in np.flatnonzero((labels >= 0) & (self.values == "")).tolist():
                yield Bad(str(ids[row]), NO_SPLIT.format("images"), classes[int(labels[row])])


def own_split(
    columns: Mapping[str, NDArray[Any]], by_file: NDArray[np.object_] | None, config: Settings, where: str, what: str
) -> OwnSplit:
    """The split by the column that is set, else by the names of the files, else by the column `split`.

    columns: those that may be splits, name → text (N,). by_file: the split by each image's file (N,), None without one.
    UserError for a column that is missing or empty, for values that are no split, and for a split that would be passed
    over.
    """
    name, setting = config.split, "source.split"
    if name is None and by_file is None and SPLIT in columns and SPLIT not in config.ignore:
        name = SPLIT
    if name is not None and name not in columns:
        raise unknown(f"{what} in {setting} of {where}", name, columns)
    if name is not None and (columns[name] != "").any():
        return OwnSplit(splits_of(columns[name], name, config.splits, where, what), name)
    if config.split is not None:
        raise UserError(f"the {what} {name!r} of {where} has no values: leave {setting} out")
    if config.splits:
        why = f"{where} has no {what} {SPLIT!r} with values"
        if by_file is not None:
            why = f"the names of the files of {where} are its split"
        raise UserError(f"source.splits is set, and {why}; set {setting}")
    if by_file is not None:
        return OwnSplit(by_file)
    notes = check_split_columns(columns, where, config.ignore, what, setting)
    empty = (f"the {what} {name!r} has no values",) if name is not None else ()
    return OwnSplit(None, None, (*notes, *empty))


def splits_of(
    column: NDArray[np.object_], name: str, meanings: Mapping[str, str], where: str, what: str
) -> NDArray[np.object_]:
    """Values of a column (N,) → train, val or test, "" without a value.

    meanings: what the user says of values. UserError for a value that is no split, and for a meaning of a value that is
    not there.
    """
    have = [value for value in dict.fromkeys(map(str, column)) if value]
    for value in meanings:
        if value not in have:
            raise unknown(f"value in source.splits of {where}", value, have)
    splits = {"": ""}
    for value in have:
        split = meanings.get(value, SPLIT_NAMES.get(value.strip().lower()))
        if split is None:
            shown = choices(sorted(have)[:5]) + (", ..." if len(have) > 5 else "")
            raise UserError(
                f"unknown split {value!r} in {where}, whose {what} {name!r} has {shown}; choose from "
                f"{choices(SPLIT_NAMES)}, or map its values: {splits_option(mapping_of(name, present(have)))}"
            )
        splits[value] = split
    return np.array([splits[str(value)] for value in column], object)


def present(values: Iterable[Any]) -> list[str]:
    """The different values of a column without missing ones, numbers in their order;
    at most one more than a split has.
    """
    have: dict[str, None] = {}
    for value in values:
        if (text := str(value).strip()) not in MISSING:
            have[text] = None
            if len(have) > MOST:
                break
    return sorted(have, key=lambda text: (int(text) if text.isdecimal() else 0, text))


def is_split(name: str, have: Sequence[str]) -> bool:
    """Whether a column of that name, with these values, holds train, val and test.

    Any column name is accepted if all values are these words.
    """
    words = {SPLIT_NAMES.get(value.lower(), "") for value in have}
    if len(words) > 1 and "train" in words and "" not in words:
        return True
    if _is_one(name):
        return len(have) == 2 and {value.lower() for value in have} <= {*YES, *NO}
    known = [SPLIT_NAMES[value.lower()] for value in have if value.lower() in SPLIT_NAMES]
    return may_be_split(name) and 2 <= len(have) <= MOST and bool(known)


def mapping_of(name: str, have: Sequence[str]) -> dict[str, str]:
    """What the values of a column probably mean; empty if all are names of splits."""
    if all(value.lower() in SPLIT_NAMES for value in have):
        return {}
    if match := _is_one(name):
        split = SPLIT_NAMES[match[2]]
        other = "test" if split == "train" else "train"
        return {value: split if value.lower() in YES else other for value in have}
    if _are_numbers(have):
        last = ("train", "test") if len(have) == 2 else ("train", "val", "test")
        splits = ["train"] * (len(have) - len(last)) + list(last)
        return dict(zip(have, splits[-len(have) :], strict=True))
    meanings = {value: _meaning(value.lower()) for value in have}
    if "train" not in meanings.values():  # a split needs it
        meanings[next(v for v in have if v.lower() not in SPLIT_NAMES)] = "train"
    return meanings


def splits_option(meanings: Mapping[str, str]) -> str:
    """`--set 'source.splits={trainval: train, test: test}'`."""
    entries = ", ".join(f"{as_yaml(value)}: {split}" for value, split in meanings.items())
    return f"--set {shlex.quote(f'source.splits={{{entries}}}')}"


def _options(column: str, meanings: Mapping[str, str]) -> str:
    option = f"--set {shlex.quote(column)}"
    return f"{option} {splits_option(meanings)}" if meanings else option


def _is_one(name: str) -> re.Match[str] | None:
    """The match of a name such as `is_test`."""
    return next((match for end in ends(name) if (match := IS_SPLIT.fullmatch(end))), None)


def _meaning(value: str) -> str:
    if value in SPLIT_NAMES:
        return SPLIT_NAMES[value]
    if "train" in value or value.startswith("learn"):
        return "train"
    return "val" if value.startswith(("val", "dev")) else "test"


def _are_numbers(have: Sequence[str]) -> bool:
    return all(value.isdecimal() for value in have)
