"""Encodings of tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_tables import images, labelled_table, listed
from pictures import source

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_a_table_in_utf_16(tmp_path: Path) -> None:
    """As Excel saves "Unicode text": tabs, and a byte order mark."""
    images(tmp_path, 2)
    text = "path\tlabel\r\nimg/0.png\tgrün\r\nimg/1.png\tblå\r\n"
    for codec in ("utf-16", "utf-16-be"):
        mark = "\ufeff" if codec == "utf-16-be" else ""
        (tmp_path / "m.txt").write_bytes((mark + text).encode(codec))
        listing = listed(tmp_path / "m.txt")
        assert listing.classes == ("blå", "grün") and "m.txt is read as UTF-16" in listing.notes
    (tmp_path / "m.txt").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(UserError, match=r"has zero bytes: set source\.encoding, such as utf-16-le"):
        listed(tmp_path / "m.txt")
    assert listed(tmp_path / "m.txt", encoding="utf-16-le").classes == ("blå", "grün")


def test_a_table_in_another_encoding_is_not_guessed(tmp_path: Path) -> None:
    images(tmp_path, 2)
    path = tmp_path / "m.csv"
    path.write_bytes("path,label\nimg/0.png,dog\nimg/1.png,café\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"not UTF-8 \(byte 0xe9 in line 3\): save it as UTF-8, or set source"):
        listed(path)
    assert listed(path, encoding="cp1252").classes == ("café", "dog")
    with pytest.raises(UserError, match="is not ascii: "):
        listed(path, encoding="ascii")
    with pytest.raises(ValueError, match="unknown encoding 'latin-77'; use one of Python's"):
        source("manifest", path=path, encoding="latin-77")
    with pytest.raises(ValueError, match="unknown encoding 'base64'"):
        source("manifest", path=path, encoding="base64")


def test_a_spreadsheet_and_a_mark_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "m.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"m\.xlsx is a spreadsheet: save it as CSV"):
        sources.suggest(tmp_path / "m.xlsx")
    path = labelled_table(tmp_path, ["x", "y"], **{"": [0, 1]})
    assert listed(path).notes[0].endswith(": a column without a name")  # pandas' index
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(UserError, match=r"mark of UTF-8, and source\.encoding is 'cp1252': leave"):
        listed(path, encoding="cp1252")
    assert listed(path, encoding="utf8").classes == ("x", "y")
