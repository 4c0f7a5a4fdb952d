"""Which columns of a table are groups of its pictures by their names."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

from augpipe.core.errors import UserError
from augpipe.data.sources._content import Content
from augpipe.data.sources._groups import plain_groups
from augpipe.data.sources._split_columns import is_split, mapping_of, may_be_split, present
from augpipe.data.sources._table_file import read_file
from augpipe.data.sources._text import text_or_none
from augpipe.data.sources._unused import FEWEST, is_group_name

MOSTLY: Final = 0.9  # of the pictures are named by a column


def groups_in(table: Path) -> list[str]:
    """Columns of a table that are called as groups are and have values of several rows, the widest groups first."""
    return groups_of(table, set())


def groups_of(table: Path, wanted: set[str]) -> list[str]:
    """Columns called as groups are, if another column names most of the pictures `wanted`, see `name_of`; all, if
    none are wanted. The widest groups, with the fewest values, first."""
    try:
        content = read_file(table)
    except UserError:  # it is not the user's source
        return []
    columns = dict(zip(content.table.column_names, content.table.columns, strict=True))
    if is_headless(content):  # as CelebA's identities, in identity_CelebA.txt
        columns = {key if key == "path" else stem_of(table): one for key, one in columns.items()}
    sizes = {name: _repeated(column) for name, column in columns.items() if _is_group(name, content)}
    groups = sorted((name for name in sizes if sizes[name]), key=lambda name: sizes[name])
    if not groups or not wanted:
        return groups
    others = (text_or_none(column) for name, column in columns.items() if name not in groups)
    named = any(
        len(wanted & {name_of(value) for value in column}) >= MOSTLY * len(wanted)
        for column in others
        if column is not None
    )
    return groups if named else []


def split_in(table: Path, wanted: set[str]) -> tuple[str, dict[str, str]] | None:
    """The column of a table that has a split by its name and values, if another names most of the pictures `wanted`,
    and what its values mean. None if there is none.
    """
    try:
        content = read_file(table)
    except UserError:  # it is not the user's source
        return None
    texts = {name: text_or_none(content.table[name]) for name in dict.fromkeys(content.table.column_names)}
    columns = {name: values for name, values in texts.items() if values is not None}
    if is_headless(content):  # as CelebA's list_eval_partition.txt
        columns = {name if name == "path" else stem_of(table): values for name, values in columns.items()}
    for name, values in columns.items():
        have = present(values)
        numbers = all(map(str.isdecimal, have)) and 2 <= len(have) <= 3
        named = any(map(may_be_split, (name, *re.split(r"[\W_]+", name))))
        if is_split(name, have) or (named and numbers):
            others = (values for other, values in columns.items() if other != name)
            if any(len(wanted & {name_of(one) for one in some}) >= MOSTLY * len(wanted) for some in others):
                return name, mapping_of(name, have)
    return None


def is_headless(content: Content) -> bool:
    """Whether a table is a list of paths and labels without column names."""
    noted = any("no line of column names" in note for note in content.notes)
    return noted and set(content.table.column_names) == {"path", "label"}


def stem_of(path: Path) -> str:
    """A table's name without folder and suffixes."""
    return path.name.partition(".")[0]


def _is_group(name: str, content: Content) -> bool:
    """Whether a column is called as groups are, or the list without column names is."""
    words = re.split(r"[\W_]+", name) if is_headless(content) else []
    return is_group_name(name) or any(map(is_group_name, words))


def _repeated(column: Any) -> int:
    """Number of different values of a column, if they are groups of several rows; else 0."""
    text = text_or_none(column)
    if text is None:
        return 0
    known = [value for value in plain_groups(text).tolist() if value]
    return len(set(known)) if FEWEST <= len(set(known)) < len(known) else 0


def name_of(path: str) -> str:
    """A picture's name without folders and suffix."""
    return PurePosixPath(path.strip().replace("\\", "/")).stem.lower()
