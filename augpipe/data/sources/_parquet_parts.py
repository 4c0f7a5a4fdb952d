"""The columns of Parquet files besides their images: labels, groups, and those that may be groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, one_line, several
from augpipe.data.sources._listing import classes_option
from augpipe.data.sources._nested import DEEPEST, flat
from augpipe.data.sources._parquet_images import byte_columns, features_of, read_schema
from augpipe.data.sources._several_labels import Labels
from augpipe.data.sources._split_columns import may_be_split
from augpipe.data.sources._text import is_list, is_text, stripped, text_of, whole_numbers
from augpipe.data.sources._unused import candidate, is_group_name

SMALL: Final = 256  # bytes of a value, on average, that may be a group's
LISTS: Final = ("Sequence", "List", "LargeList")  # features whose cells hold several values


class Columns(NamedTuple):
    """Columns of image, label, group and split (None: none, or not set)."""

    image: str
    label: str
    group: str | None
    split: str | None = None


@dataclass(frozen=True)
class Part:
    """One file: its path, the names of its rows without their number, its columns besides the images, all its columns,
    and the class names of its labels 0, 1, ... (empty: the labels themselves)."""

    path: Path
    id: str
    table: Any  # pyarrow.Table
    columns: tuple[str, ...]
    names: tuple[str, ...]


def class_names(schema: Any, column: str) -> tuple[str, ...]:
    """Class names of the labels 0, 1, ... in a column, or in its lists, by the set's features; empty without them."""
    feature: Any = features_of(schema)
    for key in (column,) if column in feature else column.split("."):
        feature = feature.get(key, {}) if isinstance(feature, dict) else {}
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") in LISTS and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def read_part(path: Path, name: str, columns: Columns) -> Part:
    """Read the columns that may be labels or groups; UserError if a column is missing."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = read_schema(path)
    require_columns(path, schema, columns)
    wanted, fields = {columns.label, columns.group, columns.split}, fields_of(schema)
    try:
        small = _small_columns(path)
        plain = [
            name
            for name, kind in fields.items()
            if name in wanted or _is_plain(kind) or (name != columns.image and name in small and is_group_name(name))
        ]
        with parquet.ParquetFile(path) as file:  # read_table would drop the structs' names
            table = _flat(file.read(columns=plain))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from None
    return Part(path, name, table, tuple(fields), class_names(schema, columns.label))


def require_columns(path: Path, schema: Any, columns: Columns) -> None:
    """UserError if a file lacks a column."""
    have = fields_of(schema)
    for column in columns:
        if column is not None and column not in have:
            raise UserError(f"{path} has no column {column!r}; it has {choices(have)}")


def fields_of(schema: Any) -> dict[str, Any]:
    """Columns by name → type; in place of a struct, unless it may be an image, its fields, as `meta.patient_id`."""
    import pyarrow as pa

    images, fields = byte_columns(schema), dict[str, Any]()

    def add(name: str, kind: Any, depth: int) -> None:
        if pa.types.is_struct(kind) and depth and name not in images:
            for one in kind:
                add(f"{name}.{one.name}", one.type, depth - 1)
        else:
            fields.setdefault(name, kind)

    # A column of the same name as an inner field comes first.
    for field in sorted(schema, key=lambda field: bool(pa.types.is_struct(field.type))):
        add(field.name, field.type, DEEPEST)
    return fields


def _flat(table: Any) -> Any:
    """A table whose structs are columns for each of their fields; of two of one name the first."""
    table = flat(table)
    names = table.column_names
    return table.select([names.index(name) for name in dict.fromkeys(names)])


def _small_columns(path: Path) -> set[str]:
    """Columns of values that are short on average, such as lists of one name, and no pictures."""
    from pyarrow import parquet

    file = parquet.read_metadata(path)
    sizes: Counter[str] = Counter()
    for group in range(file.num_row_groups):
        for at in range(file.num_columns):
            column = file.row_group(group).column(at)
            name = column.path_in_schema.removesuffix(".list.element").removesuffix(".list.item")
            sizes[name] += column.total_uncompressed_size
    return {name for name, size in sizes.items() if size <= SMALL * file.num_rows + SMALL}


def _is_plain(kind: Any) -> bool:
    """Whether a column is of numbers or text, and may be groups."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def text(parts: Sequence[Part], column: str) -> NDArray[np.object_]:
    """A column of all files as text (N,), "" for missing values and in files without the column."""
    return np.concatenate(
        [
            stripped(text_of(p.table[column], f"the column {column!r} of {p.path}"))
            if column in p.table.column_names
            else np.full(p.table.num_rows, "", object)
            for p in parts
        ]
    )


def labels_of(parts: Sequence[Part], column: str) -> tuple[NDArray[np.object_], frozenset[str] | None]:
    """Class name of each row (N,), `A|B` for several in one, "" without one; and the names that are several, None if
    that is to be seen by their text.

    -1 is no label, as in test sets whose labels are not published. Each file's labels are numbered by its names: files
    may list them in another order. UserError if only some have names.
    """
    plain = [part for part in parts if not part.names]
    named = [part for part in parts if part.names]
    if plain and named:
        raise UserError(
            f"the column {column!r} has class names in {named[0].path} and none in {plain[0].path}: its labels could "
            "mean other classes; use files with the same features"
        )
    each = [_labels(part, column) for part in parts]
    labels = np.concatenate([labels for labels, _ in each])
    combined = frozenset[str]().union(*(several for _, several in each))
    by_text = not named and not any(is_list(part.table[column].type) for part in parts)
    return whole_numbers(labels) if plain else labels, None if by_text else combined


def check_minus_one(labels: NDArray[np.object_], where: str) -> None:
    """UserError if labels without class names are numbers from 0, and -1: it usually means that there is none."""
    names = set(labels) - {""}
    others = sorted(names - {"-1"}, key=lambda name: (len(name), name))
    if "-1" in names and len(others) > 1 and all(name.isdecimal() for name in others):
        n = int((labels == "-1").sum())
        raise UserError(
            f"{several(n, 'row')} of {where} with the label -1, which usually means none: {classes_option(others)} "
            "leaves such "
            'out; add "-1" to it if it is a class'
        )


def _labels(part: Part, column: str) -> tuple[NDArray[np.object_], set[str]]:
    """Class name of each row of one file, and those that are of several labels."""
    import pyarrow.compute as pc

    cells, where = part.table[column], f"the column {column!r} of {part.path}"
    if not is_list(cells.type):
        return _named(part, stripped(text_of(cells, where)), where), set()
    values = _named(part, stripped(text_of(pc.list_flatten(cells), where)), where)
    lengths = pc.fill_null(pc.list_value_length(cells), 0).to_numpy().astype(np.int64)
    inner = (
        [sorted(set(one.tolist()) - {""}) for one in np.split(values, np.cumsum(lengths)[:-1])] if len(lengths) else []
    )
    joined = np.array(["|".join(one) for one in inner], object)
    return joined, {"|".join(one) for one in inner if len(one) > 1}


def _named(part: Part, values: NDArray[np.object_], where: str) -> NDArray[np.object_]:
    """Labels of one file → class names; UserError for a label without a name."""
    if not part.names:
        return values
    names = {str(number): name for number, name in enumerate(part.names)} | {"-1": "", "": ""}
    for value in values:
        if value not in names:
            raise UserError(f"{where} has {value!r}, and {len(part.names)} class names")
    return np.array([names[value] for value in values], object)


def split_columns(parts: Sequence[Part], columns: Columns) -> dict[str, NDArray[np.object_]]:
    """Columns of all files that may be splits by their name, and the one that is set, as text (N,)."""
    used = {columns.image, columns.label, columns.group}
    every = dict.fromkeys(name for part in parts for name in part.table.column_names)
    wanted = [
        name
        for name in every
        if name == columns.split or (name not in used and (may_be_split(name) or _is_text(parts, name)))
    ]
    return {name: _of_split(parts, name) for name in wanted}


def _is_text(parts: Sequence[Part], name: str) -> bool:
    return all(is_text(p.table[name].type) for p in parts if name in p.table.column_names)


def _of_split(parts: Sequence[Part], name: str) -> NDArray[np.object_]:
    """A column of splits as text (N,), with the names of its labels if the files have such."""
    each = []
    for part in parts:
        values = text([part], name)
        words = class_names(read_schema(part.path), name)
        each.append(_named(replace(part, names=words), values, f"the column {name!r} of {part.path}"))
    return np.concatenate(each)


def known_names(parts: Sequence[Part], single: Labels) -> tuple[str, ...]:
    """Class names that occur, in the set's order: of the first file, then of the others; empty without names.

    Combinations of several, which no file lists, come last.
    """
    order = dict.fromkeys(name for part in parts for name in part.names)
    occur = dict.fromkeys(sorted(set(single.names[~single.dropped]) - {""}))
    return tuple(name for name in order | occur if name in occur) if order else ()


def unused_columns(parts: Sequence[Part], columns: Columns) -> tuple[str, ...]:
    """Columns that are not used, over all files."""
    every = dict.fromkeys(name for part in parts for name in part.columns)
    return tuple(name for name in every if name not in columns)


def as_groups(parts: Sequence[Part], column: str) -> NDArray[np.object_] | None:
    """A column of all files as text (N,), "" where a file has none; None if its values cannot be groups."""
    each: list[NDArray[np.object_]] = []
    for part in parts:
        if column not in part.columns:
            each.append(np.full(part.table.num_rows, "", object))
            continue
        read = column in part.table.column_names
        values = candidate(column, part.table[column]) if read else None
        if values is None:
            return None
        each.append(stripped(values))
    return np.concatenate(each)
