"""Read a table of files as text and check its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, several, unknown
from augpipe.data.sources._files import printable
from augpipe.data.sources._groups import plain_groups
from augpipe.data.sources._join import joined
from augpipe.data.sources._listing import Bad, check_names
from augpipe.data.sources._missing_column import no_column
from augpipe.data.sources._missing_paths import check_some
from augpipe.data.sources._numbered_lists import ID, NOTE
from augpipe.data.sources._one_hot import one_hot
from augpipe.data.sources._paths import Paths
from augpipe.data.sources._repeated import repeated_paths
from augpipe.data.sources._several_labels import single_labels
from augpipe.data.sources._split_columns import NO_SPLIT, check_split_columns, may_be_split, splits_of
from augpipe.data.sources._table_file import read_file
from augpipe.data.sources._table_options import TableOptions
from augpipe.data.sources._text import check_cells, is_text, stripped, text_of, text_or_none, whole_numbers
from augpipe.data.sources._unused import candidate, check_folders, groups_of_folders, is_group_name

ATTRIBUTE: Final = "attribute "  # before the name of an attribute's column; no key of a config has a space
# Names of the path's column in tables of others, if there is none called `path` and none was set.
PATH_NAMES: Final = ("file_name",)  # Hugging Face's image folders
NO_LABEL: Final = "no label"
ROBOFLOW: Final = "filename"  # in its `_classes.csv`


class Table(NamedTuple):
    """Rows under augpipe's names, as text, "" for missing values; the other columns by their own names, None where
    their values are not text or numbers; the number of each row in the file; notes on how it was read."""

    rows: pd.DataFrame
    others: dict[str, NDArray[np.object_] | None]
    numbers: NDArray[Any]
    notes: tuple[str, ...]


def read_table(config: TableOptions) -> Table:
    """Read the table of a config; UserError if it cannot be read or lacks a column."""
    path = config.path
    columns, defaults = config.columns.model_dump(), type(config.columns)().model_dump()
    content = read_file(path, config.encoding)
    if config.join:
        number = (ID,) if NOTE in content.notes else ()
        keys = dict.fromkeys((*_names_of("path", columns["path"]), *PATH_NAMES, *number))
        content = joined(content, list(keys), config.join, config.encoding)
    table, numbers, notes, folders = content
    have = table.column_names
    if columns["path"] == defaults["path"] not in have:
        names = PATH_NAMES if folders is None else (*PATH_NAMES, ROBOFLOW)
        columns["path"] = next((name for name in names if name in have), columns["path"])
    needed = {key: _names_of(key, columns[key]) for key in columns}
    set_by_user = [key for key in columns if columns[key] != defaults[key]]
    required = dict.fromkeys(("path", "label", *set_by_user))
    pairs = [(key, name) for key in required | columns for name in needed[key]]
    for key, name in pairs:
        if have.count(name) > 1 or (key in required and name not in have):
            raise no_column(config, key, name, table, columns)
    if not table.num_rows:
        raise UserError(f"the manifest {path} has no rows")
    used = [name for names in needed.values() for name in names if name in have]
    values = {name: text_of(table[name], f"the column {name!r} of {path}") for name in used}
    attributes = _attributes(config, have, table)
    several_columns = not isinstance(columns["label"], str)  # has its own message
    for name in needed["path"] if several_columns else (*needed["path"], *needed["label"]):
        check_cells(values[name], name, numbers, path)
    rows = {**_rows(config, columns, needed["path"], values), **attributes}
    if folders is not None:
        _in_folders(rows, folders, "split" in set_by_user)
    notes = (*notes, *_drop_empty(rows, set_by_user, config))
    # The first of several of one name, none of which can be used.
    counted = {name for name in config.attributes if not is_group_name(name)}
    unused = {name: table.column(have.index(name)) for name in have if name not in {*values, *counted}}
    # Converted only where they may be groups: a table may have hundreds of columns of features.
    known = "group" in rows
    others = {n: None if known and not is_group_name(n) else candidate(n, column) for n, column in unused.items()}
    splits = {
        name: text
        for name, column in unused.items()
        if (may_be_split(name) or is_text(column.type)) and (text := text_or_none(column)) is not None
    }
    if "group" not in rows and config.group_folder is None:
        check_folders(rows["path"], f"the manifest {path}")
    if "split" not in rows:
        notes += check_split_columns(splits, f"the manifest {path}", config.ignore)
    return Table(pd.DataFrame(rows), others, numbers, notes)


def _attributes(config: TableOptions, have: Sequence[str], table: Any) -> dict[str, NDArray[np.object_]]:
    """The columns of source.attributes as text (N,), under ATTRIBUTE and their names."""
    where = f"the manifest {config.path}"
    values = {}
    for name in config.attributes:
        if have.count(name) != 1:
            raise unknown(f"column in source.attributes of {where}", name, have)
        if name == config.columns.label:
            raise UserError(f"source.attributes has the column of labels, {name!r}; leave it out")
        text = text_of(table[name], f"the column {name!r} of {config.path}")
        values[ATTRIBUTE + name] = whole_numbers(stripped(text))
    return values


def _rows(
    config: TableOptions, columns: Mapping[str, Any], path: Sequence[str], values: Mapping[str, NDArray[np.object_]]
) -> dict[str, NDArray[np.object_]]:
    """The columns under augpipe's names.
    path: names of the columns of the path; values: of all needed columns, as text.
    """
    rows = {"path": _paths(columns["path"], path, values)}
    if isinstance(columns["label"], str):
        rows["label"] = whole_numbers(stripped(values[columns["label"]]))
    else:
        rows["label"], rows["left_out"] = one_hot(columns["label"], values, config)
    for key in columns:
        if key not in rows and columns[key] in values:
            read = plain_groups if key == "group" else stripped
            rows[key] = read(values[columns[key]])
    if config.group_folder:
        where = f"the manifest {config.path}"
        rows["group"] = groups_of_folders(rows["path"], config.group_folder, where)
    return rows


def _in_folders(rows: dict[str, NDArray[np.object_]], folders: NDArray[np.object_], keep_splits: bool) -> None:
    """Paths relative to the tables' folders (N,) → to the folder around them;
    the folders are the split, if there are two.
    """
    rows["path"] = np.array(
        [f"{folder}/{path.strip()}" for folder, path in zip(folders, rows["path"], strict=True)], object
    )
    if not keep_splits:
        rows.pop("split", None)
        if len(set(folders)) > 1:
            rows["split"] = folders


def _drop_empty(
    rows: dict[str, NDArray[np.object_]], set_by_user: Sequence[str], config: TableOptions
) -> tuple[str, ...]:
    """Remove columns of group and split without any value, with a note; UserError if the user set them."""
    empty = [key for key in ("group", "split") if key in rows and not (rows[key] != "").any()]
    for key in empty:
        if key in set_by_user:
            raise UserError(
                f"the column {getattr(config.columns, key)!r} of the manifest {config.path} has no values, and "
                f"source.columns.{key} is set to it; set another column, or leave source.columns.{key} out"
            )
        del rows[key]
    return tuple(f"the column {key!r} of the table has no values" for key in empty)


def _names_of(key: str, value: Any) -> tuple[str, ...]:
    """The table's columns that a setting needs."""
    if key == "path" and (fields := re.findall(r"\{([^{}]*)\}", value)):
        return tuple(fields)
    return (value,) if isinstance(value, str) else tuple(value)


def _paths(template: str, names: Sequence[str], values: Mapping[str, NDArray[np.object_]]) -> NDArray[np.object_]:
    if names == (template,):
        return values[template]
    filled = []
    for row in zip(*(values[name] for name in names), strict=True):
        path = template
        for name, value in zip(names, row, strict=True):
            path = path.replace(f"{{{name}}}", value.strip())
        filled.append(path)
    return np.array(filled, object)


class Checks:
    """Values of the rows, and for each row the reason why it cannot be used ("" if it can).

    roots: index of each row's root (N,). dropped: bool (N,), rows that are left out as the config says.
    """

    def __init__(self, table: Table, config: TableOptions) -> None:
        self._table, self._config = table, config
        self._where = f"the manifest {config.path}"
        self.labels = table.rows["label"].to_numpy(dtype=object)
        paths = table.rows["path"].to_numpy(dtype=object)
        self.reasons = np.full(len(paths), "", dtype=object)
        checked = Paths(config.roots)
        self.paths, self.roots = checked.resolve(paths, self.reasons)
        left_out = self.column("left_out")
        left_out = np.full(len(paths), "", object) if left_out is None else left_out
        left_out[self._single_labels() & (left_out == "")] = "with several labels"
        self.dropped = left_out != ""
        self._reject(self.labels == "", NO_LABEL)
        hint = checked.hint(paths, self.reasons)
        if config.path.is_file():
            check_some(paths, self.reasons.tolist(), config.path, config.roots, *hint)
        self.notes = (*table.notes, *checked.notes(), *hint, *_dropped_notes(left_out))
        self.notes = (*self.notes, *self._without_rows())
        self.splits = self._splits()
        self.weights = self._weights()
        self._reject_duplicates()
        check_names(self.labels[self.reasons == ""], f"column {str(config.columns.label)!r}", str(config.path))

    def column(self, key: str) -> NDArray[np.object_] | None:
        """Text of a column; None if the table does not have it."""
        return self._table.rows[key].to_numpy(dtype=object) if key in self._table.rows else None

    def bad(self) -> tuple[Bad, ...]:
        """Unusable rows; row 1 is the first below the header."""
        paths, numbers = self._table.rows["path"].to_numpy(dtype=object), self._table.numbers
        return tuple(
            Bad(
                printable(str(paths[r])) or f"row {numbers[r]}",
                f"row {numbers[r]}: {self.reasons[r]}",
                str(self.labels[r]),
                str(self.splits[r]) if self.splits is not None and self.reasons[r] == NO_LABEL else "",
            )
            for r in np.flatnonzero((self.reasons != "") & ~self.dropped)
        )

    def _without_rows(self) -> tuple[str, ...]:
        """A note of one-hot columns that are the label of no usable row, and so no classes."""
        columns = self._config.columns.label
        have = set(self.labels[(self.reasons == "") & ~self.dropped])
        absent = [] if isinstance(columns, str) else [name for name in columns if name not in have]
        return (f"no row with a picture has the label {choices(absent)}",) if absent else ()

    def _reject(self, where: NDArray[np.bool_], reason: str) -> None:
        self.reasons[where & (self.reasons == "")] = reason

    def _single_labels(self) -> NDArray[np.bool_]:
        """Replace labels by single ones; bool (N,), rows with several labels that are left out."""
        columns, config = self._config.columns.label, self._config
        labels, dropped = single_labels(
            self.labels,
            config.combined,
            where=self._where,
            column=f"column {str(columns)!r}",
            decided=config.classes is not None,  # the user's own list of classes decides too
            known={str(name) for name in pd.unique(self.labels)} - {*columns, config.unmarked, ""}
            if not isinstance(columns, str)
            else None,
        )
        self.labels = labels
        return dropped

    def _splits(self) -> NDArray[np.object_] | None:
        column, config = self.column("split"), self._config
        if column is None or not (column != "").any():
            if config.splits:
                raise UserError(
                    f"source.splits is set, and {self._where} has no values in a column "
                    f"{config.columns.split!r}; set source.columns.split"
                )
            return None
        self._reject(column == "", NO_SPLIT.format("rows"))
        return splits_of(column, config.columns.split, config.splits, self._where, "column")

    def _weights(self) -> NDArray[np.float64] | None:
        column = self.column("weight")
        if column is None:
            return None
        numbers = pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(np.float64)
        self._reject(~(np.isfinite(numbers) & (numbers > 0)), "the weight is not a number above 0")
        return np.asarray(numbers, np.float64)

    def _reject_duplicates(self) -> None:
        """Reject repeated paths: they could put an image into both train and test, or into two classes."""
        more = [key for key in ("group", "split", "weight") if key in self._table.rows]
        rows = pd.DataFrame(
            {"root": self.roots, "path": self.paths, "label": self.labels}
            | {key: self._table.rows[key].to_numpy() for key in more}
        )[(self.reasons == "") & ~self.dropped]
        repeated = repeated_paths(rows, more)
        self.reasons[list(repeated.reasons)] = list(repeated.reasons.values())
        self.dropped[repeated.equal] = True
        self.notes = (*self.notes, *repeated.notes)


def _dropped_notes(left_out: NDArray[np.object_]) -> tuple[str, ...]:
    """How many rows were left out, by the reason."""
    numbers = Counter(why for why in left_out if why)
    return tuple(f"{several(n, 'row')} {why} left out" for why, n in numbers.items())
