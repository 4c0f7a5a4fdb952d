"""Columns of other tables that belong to the same pictures, as ISIC publishes labels and lesions:
joined by the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._content import Content
from augpipe.data.sources._proposal import columns_of
from augpipe.data.sources._table_bytes import suffix_of
from augpipe.data.sources._table_file import read_file
from augpipe.data.sources._table_groups import is_headless, name_of, stem_of

MOSTLY: Final = 0.5  # of the pictures are named by the column that joins


def joined(content: Content, keys: Sequence[str], tables: Sequence[Path], encoding: str | None) -> Content:
    """A table with the columns of others, whose rows are found by the picture's path, or by its name without folder and
    suffix.

    keys: columns of the table that may name the picture. A column whose name the table has is `TABLE.NAME`; that of a
    list without column names is `TABLE`. UserError if a table names none of the pictures, or one of them twice with
    other values.
    """
    have = [key for key in keys if content.table.column_names.count(key) == 1]
    if not have:
        return content  # its error is that of the missing column
    wanted = columns_of(content.table.select(have))
    for path in tables:
        text = suffix_of(path) != ".parquet"
        other = read_file(path, encoding if text else None)
        key, rows = _rows(wanted, other.table, path)
        table, missing = content.table, int((rows < 0).sum())
        for name, column in _taken(other.table, key, rows):
            table = table.append_column(_name(name, other, path, table.column_names), column)
        note = f"{several(missing, 'row')} without one in the joined table {path}"
        notes = (*content.notes, *other.notes, *((note,) if missing else ()))
        content = content._replace(table=table, notes=notes)
    return content


def _rows(wanted: dict[str, NDArray[np.object_]], other: Any, path: Path) -> tuple[str, NDArray[np.int64]]:
    """The column of a table that names most of the pictures, and the row of each picture (N,), -1 for none."""
    best: tuple[int, str, NDArray[np.int64]] | None = None
    for name, values in columns_of(other).items():
        for mine in wanted.values():
            for plain in (str.strip, name_of):
                rows = _matches([plain(v) for v in mine], [plain(v) for v in values])
                n = int((rows >= 0).sum())
                if n >= MOSTLY * len(mine) and (best is None or n > best[0]):
                    best = (n, name, rows)
    if best is None:
        raise UserError(
            f"no column of the table {path} in source.join names most of the pictures of "
            f"{choices(map(repr, wanted))}; it has {choices(other.column_names)}"
        )
    _check_single(other, best[1], path)
    return best[1], best[2]


def _matches(mine: Sequence[str], others: Sequence[str]) -> NDArray[np.int64]:
    """Row of each of `mine` in `others`, -1 for none."""
    first = {name: row for row, name in reversed(list(enumerate(others)))}
    return np.array([first.get(name, -1) if name else -1 for name in mine], np.int64)


def _check_single(other: Any, key: str, path: Path) -> None:
    """UserError if two rows of one picture differ: one of them would be taken by chance."""
    columns = {name: values.tolist() for name, values in columns_of(other).items()}
    seen: dict[str, tuple[str, ...]] = {}
    for row, name in enumerate(columns[key]):
        values = tuple(column[row] for column in columns.values())
        if seen.setdefault(name, values) != values:
            raise UserError(
                f"the table {path} in source.join has {name!r} twice in its column {key!r}, with other values in the "
                "other columns"
            )


def _taken(other: Any, key: str, rows: NDArray[np.int64]) -> list[tuple[str, Any]]:
    """The other columns at `rows`, null for -1."""
    import pyarrow as pa

    at = pa.array(rows, mask=rows < 0)
    names = other.column_names
    return [(name, column.take(at)) for name, column in zip(names, other.columns, strict=True) if name != key]


def _name(name: str, other: Content, path: Path, have: Sequence[str]) -> str:
    if is_headless(other):
        return stem_of(path)
    return f"{stem_of(path)}.{name}" if name in have else name
