"""The error of a column that a table lacks, with what it has and a proposal."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._foreign import pixels_in
from augpipe.data.sources._numbered_lists import ID
from augpipe.data.sources._path_roots import Root
from augpipe.data.sources._proposal import LOOKED_AT, columns_of, mapping
from augpipe.data.sources._settings import setting
from augpipe.data.sources._table_options import TableOptions

SHOWN: Final = 60  # columns in a message
TITLES: Final = 5  # first rows that may be the column names


def _few(names: Sequence[str]) -> str:
    """The first of a table's columns, and how many more there are."""
    more = len(names) - SHOWN
    return f"{choices(names[:SHOWN])} and {more:,} more" if more > 0 else choices(names)


def _head_below(table: Any, names: Sequence[str]) -> str:
    """What to do if one of the first rows has the names of columns, as below a title; "" if none has."""
    for row in table.slice(0, TITLES).to_pylist() if len(set(table.column_names)) == table.num_columns else ():
        cells = [str(value).strip() for value in row.values()]
        if shown := [name for name in names if name in cells]:
            return f"; a row below has {choices(map(repr, shown))}: delete the lines above the column names"
    return ""


def _named_above(table: Any, path: Path) -> tuple[str, Path] | None:
    """A column whose values, as they are written, are pictures below the folder around that of the table, which may be
    `labels` or `meta`, or below one beside it, and that folder; None if there is none.
    """
    above = path.parent.parent
    columns = columns_of(table.slice(0, LOOKED_AT))
    try:
        beside = sorted(one for one in above.iterdir() if one.is_dir())
    except OSError:
        return None
    for folder in (above, *beside[:LOOKED_AT]):
        root = Root(folder, 0)
        for name, values in columns.items():
            if len(values) and all(not root.exact(str(value)).reason for value in values):
                return name, folder
    return None


def no_column(config: TableOptions, key: str, name: str, table: Any, columns: Mapping[str, Any]) -> UserError:
    """The error of a missing column, with all that are there and a proposal for path, label and group."""
    have = table.column_names
    problem = "has no column" if name not in have else "has more than one column"
    near = difflib.get_close_matches(name, have, n=1) if name not in have else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    proposed, labels = mapping(table, config.roots, columns) if key in ("path", "label") else ({}, list[str]())
    options = " ".join(f"--set {setting(f'source.columns.{k}', v)}" for k, v in proposed.items())
    where = _head_below(table, [name for name in columns.values() if isinstance(name, str)])
    options = "" if where else options
    if not where and key == "path" and "path" not in proposed:
        pixels = pixels_in(have)
        elsewhere = f"{choices(config.roots)}: set source.root if they are elsewhere"
        if config.root is None and (found := _named_above(table, config.path)):
            options += (
                f" --set {setting('source.columns.path', found[0])} --set {setting('source.root', str(found[1]))}"
            )
            elsewhere = f"{config.path.parent}, but the column {found[0]!r} does below {found[1]}"
        where = pixels or f"; no column names pictures below {elsewhere}"
        options = "" if pixels else options  # a column of pixels may repeat its values as groups do
    if key == "label" and have == [ID, "path"]:
        where = "; join the list of the classes by number with --set source.join=LIST"
    if proposed and labels:
        options += f" --set source.columns.label=..., perhaps one of {choices(labels)}"
    return UserError(
        f"the manifest {config.path} {problem} {name!r}{hint}; it has {_few(have)} "
        f"({'rename one, or ' if name in have else ''}set source.columns.{key} for another name)"
        + (f"; try {options}" if options else "")
        + where
    )
