"""A row of a text table with more or fewer cells than the table has columns: which line it is, and what to do."""

from __future__ import annotations

from typing import Any, Final

from augpipe.core.errors import several

SPACES: Final = " "  # columns are between spaces, which were read as tabs
LONGEST: Final = 80  # characters of a row in a message


class UnevenRowsError(ValueError):
    """A table with a row of more or fewer cells than columns; the message names its line."""


class UnevenRow:
    """Handler of Arrow's reader of CSV: stops at the first row of another number of cells, and keeps it."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._row: Any = None

    def __call__(self, row: Any) -> str:
        """Keep the row; "error" ends the reading."""
        if self._row is None:
            self._row = row
        return "error"

    def error(self, data: bytes, file: bytes) -> UnevenRowsError | None:
        """The error that names the row's line in the file and what is wrong with it; None if no row was uneven.

        data: the text that was read. file: the same before lines above its header were removed.
        """
        if self._row is None:
            return None
        cells, columns, text = self._row.actual_columns, self._row.expected_columns, self._row.text
        above = _n_lines(file.rstrip()) - _n_lines(data.rstrip())
        line = above + _n_lines(data[: _start(data, text.encode())]) + 1
        text = text.replace("\t", " ") if self._delimiter == SPACES else text
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        return UnevenRowsError(
            f"line {line:,} has {several(cells, 'cell')}, the table {several(columns, 'column')}: "
            f"{self._advice(cells > columns)}; the line is {shown!r}"
        )

    def _advice(self, too_many: bool) -> str:
        if self._delimiter == SPACES:
            return "values with spaces, and empty ones, need a CSV file"
        name = "a tab" if self._delimiter == "\t" else repr(self._delimiter)
        return f"put a value with {name} in quotes" if too_many else "write empty cells too"


def _n_lines(data: bytes) -> int:
    return len(data.splitlines())


def _start(data: bytes, row: bytes) -> int:
    """Where a row begins in the text."""
    for sign in (b"\n", b"\r"):
        if (at := data.find(sign + row)) >= 0:
            return at + 1
    return 0
