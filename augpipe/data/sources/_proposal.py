"""Propose which columns of a table hold path, label and group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.core.yaml_loader import as_yaml
from augpipe.data.sources._listing import evenly
from augpipe.data.sources._one_hot import one_hot_columns
from augpipe.data.sources._paths import ArchiveRoot, Paths
from augpipe.data.sources._settings import unquoted
from augpipe.data.sources._split_columns import is_split, mapping_of, may_be_split, present
from augpipe.data.sources._table_file import read_file
from augpipe.data.sources._text import text_or_none
from augpipe.data.sources._unused import MISSING, is_group_name, like_groups, number_of

LOOKED_AT: Final = 50  # rows
MOSTLY: Final = 0.8
FEW: Final = 50  # classes of a column that may be labels by its values
EACH: Final = 4  # images of a class of it, on average
FILE_NAMES: Final = re.compile(r"file|path|image|img|picture|photo", re.IGNORECASE)
LABEL_NAMES: Final = re.compile(
    r"labels?|class(es|_?name|_?id)?|dx|diagnosis|diagnose|target|category|finding|species|grade|y", re.IGNORECASE
)


def read_columns(path: Path, rows: int) -> dict[str, NDArray[np.object_]]:
    """Columns of text or numbers of a table, as text, of so many rows evenly spaced; none if it cannot be read."""
    try:
        table = read_file(path).table
    except UserError:
        return {}
    return columns_of(_sample(table, rows))


def _sample(table: Any, rows: int) -> Any:
    n = table.num_rows
    return table.take(evenly(n, rows)) if n else table


def columns_of(table: Any) -> dict[str, NDArray[np.object_]]:
    """Columns of text or numbers, as text."""
    names = [name for name in table.column_names if table.column_names.count(name) == 1]
    columns = {name: text_or_none(table[name]) for name in names}
    return {name: values for name, values in columns.items() if values is not None}


def proposal(columns: Mapping[str, NDArray[np.object_]], roots: Sequence[Path | ArchiveRoot]) -> dict[str, str]:
    """`path`: a column that names pictures below a root; `label`: one that by its name holds classes;
    where there are such.
    """
    name = path_column(columns, roots)
    settings = {} if name is None else {"path": name}
    likely = [
        name
        for name in columns
        if LABEL_NAMES.fullmatch(name.strip())
        and name != settings.get("path")
        and not (name in ("y", "Y") and columns.keys() & {"x", "X"})  # the place of a box
    ]
    return settings | ({"label": likely[0]} if likely else {})


def path_column(columns: Mapping[str, NDArray[np.object_]], roots: Sequence[Path | ArchiveRoot]) -> str | None:
    """The column whose first values mostly name pictures below a root; None if none does.

    First as they are written: the number of a patient may be a file's name without its suffix, or without zeros. Then
    one that is called as a column of files is: another may name one picture of each patient, or masks.
    """
    paths = Paths(roots)
    fitting = []
    for name, values in columns.items():
        resolved = [paths.one(str(value)) for value in values[:LOOKED_AT]]
        if not resolved or np.mean([not one.reason for one in resolved]) <= MOSTLY:
            continue
        padded = any(one.padded for one in resolved)
        if not padded or len(set(values)) == len(values):  # each picture once
            fitting.append((any(one.completed for one in resolved), padded, not FILE_NAMES.search(name), name))
    return min(fitting, key=lambda one: one[:3])[3] if fitting else None


def whole_mapping(path: Path, root: Path | ArchiveRoot) -> dict[str, str]:
    """Columns for path, label, group and split by all rows of a table, with pictures below `root`;
    none if it cannot be read.
    """
    try:
        table = read_file(path).table
    except UserError:
        return {}
    wanted = {"path": "", "label": "", "group": "", "split": ""}
    return mapping(table, [root], wanted)[0]


def may_have_labels(path: Path, root: Path | ArchiveRoot) -> bool:
    """Whether a column of a table, by its name or its values, may be the label of pictures below `root`."""
    try:
        table = read_file(path).table
    except UserError:
        return False
    settings, likely = mapping(table, [root], {"path": "", "label": "", "group": "", "split": ""})
    return "label" in settings or bool(likely)


def split_settings(path: Path) -> list[str]:
    """Settings that use the first column of a table that has a split, and what its values mean;
    none if no column has.
    """
    try:
        columns = columns_of(read_file(path).table)
    except UserError:
        return []
    for name, values in columns.items():
        have = present(values)
        if is_split(name, have):
            meanings = mapping_of(name, have)
            entries = ", ".join(f"{as_yaml(value)}: {split}" for value, split in meanings.items())
            more = [f"source.splits={{{entries}}}"] if meanings else []
            return [unquoted("source.columns.split", name), *more]
    return []


def mapping(
    table: Any, roots: Sequence[Path | ArchiveRoot], wanted: Mapping[str, Any]
) -> tuple[dict[str, str], list[str]]:
    """Columns for path, label, group and split that are not among the table's as `wanted`, and others that may be the
    label.

    Beyond `proposal`: a label by its values, if there is one such column only or several are one-hot, a group by name
    or values, and a split.
    """
    columns, first = (
        {name: values for name, values in columns_of(some).items() if name}  # no option can name a column without one
        for some in (table, _sample(table, LOOKED_AT))
    )
    settings = proposal(first, roots)
    for key in ("path", "label"):
        if isinstance(wanted[key], str) and wanted[key] in columns:
            settings[key] = wanted[key]
    others = {n: v for n, v in columns.items() if n != settings.get("path")}
    splits = [name for name, values in others.items() if is_split(name, present(values))]
    likely = [
        name
        for name, values in others.items()
        if _few(values) and not is_group_name(name) and not may_be_split(name) and name not in splits
    ]
    if settings.get("label") not in others:  # the column of paths may be called `target`
        settings.pop("label", None)
    several = one_hot_columns(others) if "label" not in settings else []
    if several:
        settings["label"] = f"[{', '.join(as_yaml(name) for name in several)}]"
    elif "label" not in settings and len(likely) == 1:
        settings["label"] = likely[0]
    if "label" in settings:
        labels = _joined(others[name] for name in several or [settings["label"]])
        groups = [
            name for name, values in others.items() if name != settings["label"] and like_groups(name, values, labels)
        ]
        if groups and wanted["group"] not in columns:
            settings["group"] = min(groups, key=lambda name: (not is_group_name(name), number_of(others[name])))
    named = [name for name in splits if not mapping_of(name, present(others[name]))]
    if named and wanted["split"] not in columns:
        settings["split"] = named[0]
    changed = {key: name for key, name in settings.items() if name != wanted[key]}
    return changed, [] if "label" in settings else likely


def _joined(columns: Iterable[NDArray[np.object_]]) -> NDArray[np.object_]:
    """Columns (N,) → one column that differs where any of them does."""
    return np.array(["|".join(map(str, row)) for row in zip(*columns, strict=True)], object)


def _few(values: NDArray[np.object_]) -> bool:
    """Whether a column has few different values, each of several images, as classes have."""
    counts = pd.Series(values).replace(dict.fromkeys(MISSING)).value_counts()
    return 2 <= len(counts) <= FEW and EACH * len(counts) <= counts.sum()
