"""The head of a text table: comment lines, and lists that have no line of column names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.sources._formats import SUFFIXES as PICTURES
from augpipe.data.sources._numbered_lists import ID, NOTE, is_numbered
from augpipe.data.sources._table_bytes import HEAD

DELIMITERS: Final = ",;\t|"
NAMES: Final = frozenset({"path", "label", "file_name"})  # in a comment that is the line of column names
NUMBER: Final = re.compile(r"\d+")
EACH: Final = 2  # images of a class, on average, in a list of paths and labels
COMMENT: Final = b"#"


def without_comments(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A text table without the lines above it that begin with #, and a note; one of them may be the column names.

    A line whose first column is `#` alone is the column names.
    """
    lines, at = data[:HEAD].splitlines(keepends=True), 0
    while at < len(lines) and (lines[at].startswith(COMMENT) or not lines[at].strip()):
        at += 1
    comments = [line.decode("utf-8", "replace") for line in lines[:at] if line.strip()]
    if not comments or at == len(lines):
        return data, ()
    first = lines[at].decode("utf-8", "replace")
    delimiter = max(DELIMITERS, key=first.count)
    delimiter = delimiter if delimiter in first else " "
    rest, last = data[len(b"".join(lines[:at])) :], comments[-1]
    if delimiter != " " and last.split(delimiter)[0].strip() == "#":
        return last.encode() + rest, _left_out(len(comments) - 1)
    names, row = (_cells(text, delimiter) for text in (last.lstrip("#"), first))
    is_row = delimiter != " " and any(map(_is_picture, row))  # two words may be any comment
    is_header = is_row or bool(NAMES & {name.lower() for name in names})
    if len(names) == len(row) > 1 and is_header and not any(map(_is_picture, names)):
        note = "the column names of the table are read from its comment line"
        return last.lstrip("# ").encode() + rest, (note, *_left_out(len(comments) - 1))
    return rest, _left_out(len(comments))


def with_names(table: Any, path: Path) -> tuple[Any, tuple[str, ...]]:
    """A table as read, whose first line became its column names although it is a row of path and label → with that row;
    a note.

    UserError if the first line names a picture, and the columns could be read in several ways.
    """
    import pyarrow as pa

    first = table.column_names
    rows = [np.array([name, *column.to_pylist()], object) for name, column in zip(first, table.columns, strict=True)]
    if len(first) == 2 and is_numbered([f"{number} x" for number in rows[0]]):
        names = (ID, "path" if all(map(_is_picture, rows[1])) else path.name.partition(".")[0])
        columns = dict(zip(names, rows, strict=True))
        return pa.table({name: pa.array(columns[name], pa.string()) for name in names}), (NOTE,)
    for names in (("path", "label"), ("label", "path")) if len(first) == 2 else ():
        columns = dict(zip(names, rows, strict=True))
        if _are_list(columns["path"], columns["label"]):
            shown = ", ".join(names)
            note = f"the table has no line of column names: its columns are read as {shown}"
            return pa.table({name: pa.array(columns[name], pa.string()) for name in names}), (note,)
    for name in first:
        if _is_picture(name):
            example = ",".join(["path", "label", *["other"] * 9][: len(first)])
            raise UserError(
                f"the manifest {path} has no line of column names, its first line has the picture {name!r}: write one "
                f"above it, such as {example}"
            )
    return table, ()


def _are_list(paths: NDArray[np.object_], labels: NDArray[np.object_]) -> bool:
    """Whether two columns (N,), with the first line, are a list of pictures and the classes of several each."""
    pictures = all(map(_is_picture, paths))
    # Without suffixes only where the first line can be no column names: a path and a number.
    numbered = all("/" in path for path in paths) and all(map(NUMBER.fullmatch, labels))
    # Where each path has a label of its own, as of identities, the first line may be column names.
    few = EACH * len(set(labels)) <= len(labels)
    return (pictures or (numbered and few)) and not any(map(_is_picture, labels))


def _cells(text: str, delimiter: str) -> Sequence[str]:
    return text.split() if delimiter == " " else [cell.strip() for cell in text.split(delimiter)]


def _left_out(n: int) -> tuple[str, ...]:
    return (f"{several(n, 'comment line')} at the head of the table left out",) if n else ()


def _is_picture(name: str) -> bool:
    return name.strip().lower().endswith(PICTURES)
