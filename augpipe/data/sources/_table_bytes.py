"""The bytes of a text table: unpacked, and from its encoding to UTF-8."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path
from typing import IO, Final, cast

from augpipe.core.errors import UserError

TEXTS: Final = (".csv", ".tsv", ".tab", ".txt")
LINES: Final = (".jsonl", ".ndjson")
HEAD: Final = 2**16  # bytes that are enough to see the form of a text table
LARGEST: Final = 2**31  # bytes of an unpacked .gz
UTF8: Final = ("utf-8", "utf-8-sig")
WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # first bytes of .xlsx and .ods, of .xls
BYTE_ORDER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def suffix_of(path: Path) -> str:
    """`.csv` of `a.csv` and `a.csv.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == ".gz" and inner in (*TEXTS, *LINES) else suffix


def opened(path: Path) -> IO[bytes]:
    """A table as a stream of its bytes, unpacked."""
    packed = path.suffix.lower() == ".gz"
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def read_bytes_of(path: Path) -> bytes:
    """The bytes of a table, unpacked; UserError if it is broken or more than LARGEST."""
    try:
        with opened(path) as stream:
            data = stream.read(LARGEST + 1) if path.suffix.lower() == ".gz" else stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"cannot read the manifest {path}: {error}") from None
    if path.suffix.lower() == ".gz" and len(data) > LARGEST:
        raise UserError(f"the manifest {path} has more than {LARGEST:,} bytes: unpack it")
    return data


def has_byte_order_mark(path: Path) -> bool:
    """Whether a text begins as UTF-16 does."""
    try:
        with opened(path) as stream:
            return stream.read(2) in BYTE_ORDER_MARKS
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False  # reading all of it reports the reason


def decoded(path: Path, encoding: str) -> str:
    """The text of a table; UserError if it is not in this encoding."""
    data = read_bytes_of(path)
    if data.startswith(codecs.BOM_UTF8) and codecs.lookup(encoding).name not in UTF8:
        raise UserError(
            f"the manifest {path} begins with the byte order mark of UTF-8, and source.encoding is {encoding!r}: leave "
            "it out"
        )
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        raise UserError(
            f"the manifest {path} is not {encoding}: {error}; set source.encoding to its encoding"
        ) from None


def check_utf8(path: Path, data: bytes) -> None:
    """UserError if a text is not UTF-8."""
    if data.startswith(WORKBOOKS):
        raise UserError(f"the manifest {path} is by its content a spreadsheet or a zip, and no text: save it as CSV")
    if b"\0" in data[:HEAD]:
        raise UserError(f"the manifest {path} has zero bytes: set source.encoding, such as utf-16-le, if it is text")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"the manifest {path} is not UTF-8 (byte {data[error.start]:#x} in line {line}): save it as UTF-8, or set "
            "source.encoding, such as cp1252 (Windows, Western Europe), gbk or shift_jis"
        ) from None
