"""Read a table file - CSV, TSV, JSON Lines, Parquet, columns between spaces,
or CelebA's text - into columns of text.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, one_line, several
from augpipe.data.sources._content import Content, without_repeated
from augpipe.data.sources._files import check_fetched
from augpipe.data.sources._formats import SUFFIXES as PICTURES
from augpipe.data.sources._image_folder import read_folder
from augpipe.data.sources._nested import flat, inner_values
from augpipe.data.sources._numbered_lists import is_numbered
from augpipe.data.sources._table_bytes import (
    HEAD,
    LINES,
    TEXTS,
    check_utf8,
    decoded,
    has_byte_order_mark,
    opened,
    read_bytes_of,
    suffix_of,
)
from augpipe.data.sources._table_head import DELIMITERS, with_names, without_comments
from augpipe.data.sources._uneven_rows import SPACES, UnevenRow, UnevenRowsError

SUFFIXES: Final = (*TEXTS, *LINES, ".parquet")
LOOKED_AT: Final = 20  # lines by which columns between spaces are recognised
SEPARATOR_LINE: Final = re.compile(r"sep=(.|\\t)", re.IGNORECASE)  # written by Excel above the header; a tab also as \t
COUNT: Final = re.compile(r"[0-9]{1,12}")  # of CelebA's rows
EXACT: Final = 2.0**53  # below it, a float is exactly one whole number
BLOCK: Final = 2**22  # bytes of a row of CSV; one of more than two such blocks is not read


def is_table(path: Path) -> bool:
    """Whether a path names a table by its suffix; a .txt only if it has more than one column."""
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or not path.is_file():
        return False
    if suffix != ".txt":
        return True
    try:
        with opened(path) as stream:
            head = without_comments(stream.read(HEAD))[0]
            lines = head.decode("utf-8", "replace").splitlines()
    except (OSError, EOFError, zlib.error):
        return False
    return (
        _is_counted(lines)
        or _is_spaced(lines)
        or any(delimiter in line for line in lines[:1] for delimiter in DELIMITERS)
    )


def read_file(path: Path, encoding: str | None = None) -> Content:
    """Read a table, or those of an image folder as one; UserError if it is broken or in another encoding.

    encoding: of a text table; None: UTF-16 by its byte order mark, else UTF-8. Values of CSV are text: type inference
    would merge 1 and 01, and turn a class called NA into a missing value. Empty rows, and empty columns without a name,
    are left out with a note, as are columns that repeat another of their name.
    """
    if path.is_dir():
        return read_folder(path, partial(read_file, encoding=encoding))
    return without_repeated(_read(path, encoding))


def _read(path: Path, encoding: str | None) -> Content:
    import pyarrow as pa  # 50 MB: imported only if there is a table

    check_fetched(path)
    suffix = suffix_of(path)
    if encoding and suffix == ".parquet":
        raise UserError(f"source.encoding {encoding!r} is of text tables; {path} is Parquet")
    try:
        if suffix == ".parquet":
            from pyarrow import parquet

            return _content(flat(parquet.read_table(path)), ())
        codec = encoding or ("utf-16" if has_byte_order_mark(path) else None)
        data = read_bytes_of(path) if codec is None else decoded(path, codec).encode()
        notes = (f"{path.name} is read as UTF-16",) if codec and not encoding else ()
        if codec is None:
            check_utf8(path, data)
        if suffix in LINES:
            return _content(_json_lines(data, path), notes)
        table, more = _delimited(data)
        table, read_as = with_names(table, path)
        return _without_empty(table, (*notes, *more, *read_as))
    except (pa.ArrowException, OSError, UnevenRowsError) as error:
        message = one_line(error)
        if "straddling" in message:  # Arrow's word for a row longer than a block
            message = f"a row of more than {BLOCK:,} bytes; perhaps a quote is not closed"
        raise UserError(f"cannot read the manifest {path}: {message}") from None


def _content(table: Any, notes: Sequence[str]) -> Content:
    return Content(table, np.arange(1, table.num_rows + 1), tuple(notes))


def _json_lines(data: bytes, path: Path) -> Any:
    """One object a line → columns; a list or an object becomes JSON text, as it may be neither path nor label.

    The single values in an object are columns too, as `meta.patient_id`.
    """
    import pyarrow as pa

    columns: dict[str, list[str | None]] = {}
    n = 0
    # Only \n ends a line: other separators of Unicode may stand in a text.
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"line {number} of the manifest {path} has half a character, such as \\ud800: it is not Unicode text"
            ) from None
        except RecursionError:
            raise UserError(f"line {number} of the manifest {path} is nested too deeply") from None
        except ValueError as error:
            raise UserError(f"line {number} of the manifest {path} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"line {number} of the manifest {path} is not an object of columns")
        for name, value in (row | inner_values(row)).items():
            column = columns.setdefault(name, [])
            column += [None] * (n - len(column))
            column.append(_cell(value))
        n += 1
    padded = {name: column + [None] * (n - len(column)) for name, column in columns.items()}
    return pa.table({name: pa.array(column, pa.string()) for name, column in padded.items()})


def _cell(value: Any) -> str | None:
    """A value of JSON as text; whole numbers without a decimal point, so that 12 and 12.0 are one group."""
    if isinstance(value, str) or value is None:
        return value
    whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    return f"{value:.0f}" if whole else json.dumps(value)


def _delimited(data: bytes) -> tuple[Any, tuple[str, ...]]:
    import pyarrow as pa
    from pyarrow import csv

    # Blank lines above the header and at the end are no rows; others count, so that numbers of rows are those of the
    # file.
    whole = data.removeprefix(codecs.BOM_UTF8)
    text = whole.strip(b"\r\n")
    data, notes = without_comments(text + b"\n" if text else b"")
    lines = data[:HEAD].decode("utf-8", "replace").splitlines()
    counted = _is_counted(lines)
    spaced = counted or _is_spaced(lines) or (is_numbered(lines[:LOOKED_AT]) and not set(lines[0]) & set(DELIMITERS))
    if counted:
        data, more = _counted(data.decode("utf-8-sig"))
        notes += more
    elif spaced:
        data = _tabbed(data)
    if spaced:
        lines = data[:HEAD].decode("utf-8", "replace").splitlines()
    separator = SEPARATOR_LINE.fullmatch(lines[0].strip(" \r")) if lines else None
    # A semicolon is written by spreadsheets in many locales.
    head = next((line for line in lines if line.strip()), "")
    delimiter = separator[1].replace("\\t", "\t") if separator else max(DELIMITERS, key=head.count)
    reading = csv.ReadOptions(skip_rows=1 if separator else 0, block_size=BLOCK)
    uneven = UnevenRow(SPACES if spaced else delimiter)
    parse = csv.ParseOptions(
        delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=uneven
    )
    try:
        with csv.open_csv(pa.BufferReader(data), read_options=reading, parse_options=parse) as peek:
            names = peek.schema.names
        convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        table = csv.read_csv(pa.BufferReader(data), read_options=reading, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise uneven.error(data, whole) or error from None
    # Spaces after a delimiter are not part of a column name.
    return table.rename_columns([name.strip() for name in names]), notes


def _is_counted(lines: Sequence[str]) -> bool:
    """Whether a text has CelebA's form: the number of rows,
    a header that may lack the first column's name, and rows.
    """
    if len(lines) < 3 or not COUNT.fullmatch(lines[0].strip()):
        return False
    header, row = len(lines[1].split()), len(lines[2].split())
    return row > 1 and header in (row - 1, row) and not set(lines[1]) & set(DELIMITERS)


def _is_spaced(lines: Sequence[str]) -> bool:
    """Whether a text has columns between spaces, one of them of paths:
    no other delimiter, and as many words in each line.
    """
    rows = [line.split() for line in lines[:LOOKED_AT] if line.strip()]
    if len(rows) < 2 or len({len(row) for row in rows}) > 1 or set("".join(lines[:1])) & set(DELIMITERS):
        return False
    columns = zip(*rows[1:], strict=True)
    return len(rows[0]) > 1 and any(
        all("/" in cell or cell.lower().endswith(PICTURES) for cell in cells) for cells in columns
    )


def _tabbed(data: bytes) -> bytes:
    """Columns between spaces → between tabs."""
    lines = data.decode("utf-8-sig").splitlines()
    return "\n".join("\t".join(line.split()) for line in lines).encode() + b"\n"


def _counted(text: str) -> tuple[bytes, tuple[str, ...]]:
    """CelebA's form → tab-separated text whose first column is `path` if it has no name; a note if rows are missing."""
    count, header, *rows = [line for line in text.splitlines() if line.strip()]
    names = header.split()
    if len(names) < len(rows[0].split()):
        names = ["path", *names]
    table = "\n".join("\t".join(cells) for cells in (names, *(row.split() for row in rows)))
    n = int(count)
    missing = f"the first line of the table says {several(n, 'row')}, and it has {len(rows):,}"
    return table.encode(), (missing,) if n != len(rows) else ()


def _without_empty(table: Any, notes: Sequence[str]) -> Content:
    """Leave out rows without any value, and columns without a name and a value, as spreadsheets write them."""
    from pyarrow import compute

    def empty(column: Any) -> NDArray[np.bool_]:
        blank = compute.equal(compute.utf8_trim_whitespace(column), "")
        return np.asarray(blank.to_numpy(), bool)

    numbers, notes = np.arange(1, table.num_rows + 1), list(notes)
    rows = np.ones(table.num_rows, bool)
    for column in table.columns:
        if not rows.any():
            break
        rows &= empty(column)
    if n := int(rows.sum()):
        table, numbers = table.filter(~rows), numbers[~rows]
        notes.append(f"{several(n, 'empty row')} of the table left out")
    unnamed = [at for at, name in enumerate(table.column_names) if not name and empty(table.column(at)).all()]
    if unnamed:
        table = table.select([at for at in range(table.num_columns) if at not in unnamed])
        notes.append(f"{several(len(unnamed), 'empty column')} of the table left out")
    return Content(table, numbers, tuple(notes))
