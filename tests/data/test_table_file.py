"""Forms of tables in files: CSV, JSON Lines, Parquet."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from labelled_tables import images, listed
from pyarrow import parquet as pq

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_columns_of_string_views(tmp_path: Path) -> None:
    """As Polars and newer Arrow write text."""
    table = pa.table({"path": images(tmp_path, 2), "label": ["x", "y"]})
    view = pa.schema([(name, pa.string_view()) for name in table.column_names])
    pq.write_table(table.cast(view), tmp_path / "m.parquet")
    assert listed(tmp_path / "m.parquet").classes == ("x", "y")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": ' + "[" * 100_000, "line 2 of the manifest .* is nested too deeply"),
        ('{"path": "img/1.png", "label": "\\ud800"}', r"line 2 of .* has half a character, such as \\ud800"),
        ('{"path": "img/1.png", "label": ' + "9" * 5000 + "}", "line 2 of the manifest .* is not JSON"),
    ],
)
def test_lines_of_json_that_python_cannot_hold(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "img/0.png", "label": "a"}\n' + line + "\n")
    with pytest.raises(UserError, match=message) as caught:
        listed(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", 'path,label,who\n0,a,"X\nY"\n1,b,Doe, J', r"line 4 has 4 cells, the table 3 columns: put .* ',' in"),
        (
            "m.csv",
            "# c\n\npath;label\r\n0;a\r\n\r\n1;b;c\r\n",
            r"line 6 has 3 cells, .* put a value with ';' in quotes",
        ),
        ("m.csv", "sep=,\npath,label\n0\n", r"line 3 has 1 cell, the table 2 columns: write empty cells too"),
        ("m.txt", "path label\n" + "0.png a\n" * 20 + "1.png b c\n", r"line 22 .* need a CSV file; .* '1\.png b c'$"),
    ],
)
def test_rows_of_more_or_fewer_cells_than_columns(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(UserError, match=f"cannot read the manifest .*: {message}"):
        listed(tmp_path / name)


def test_one_number_in_two_spellings_of_json_is_one_group(tmp_path: Path) -> None:
    values = zip(images(tmp_path, 4), (1, 1.0, 0, 2), (12, 12.0, "12.0", 1.5), strict=True)
    rows = [json.dumps({"path": p, "label": c, "group": g}) for p, c, g in values]
    (tmp_path / "m.jsonl").write_text("\n".join(rows))
    listing = listed(tmp_path / "m.jsonl")
    assert listing.counts() == {"0": 1, "1": 2, "2": 1}
    assert listing.groups is not None and listing.groups.tolist() == ["12", "12", "12", "1.5"]


def test_separators_of_unicode_within_a_line_of_json(tmp_path: Path) -> None:
    rows = zip(images(tmp_path, 2), ("a\u2028b", "c\x85d"), strict=True)
    text = "\r\n".join(json.dumps({"path": p, "label": c}, ensure_ascii=False) for p, c in rows)
    (tmp_path / "m.jsonl").write_bytes(text.encode())
    assert listed(tmp_path / "m.jsonl").classes == ("a\u2028b", "c\x85d")


def test_a_text_whose_first_line_is_a_long_number(tmp_path: Path) -> None:
    """No count of rows, as CelebA's tables begin with; Python reads no number of so many digits."""
    (tmp_path / "m.txt").write_text("9" * 5000 + "\na b\n1 2\n")
    with pytest.raises(UserError, match="has no column 'path'"):
        listed(tmp_path / "m.txt")


FORMS = {"a.tab": "\t", "b.csv": "|", "c.txt": " ", "d.csv.gz": ",", "e.ndjson": ""}


@pytest.mark.parametrize("name", FORMS)
def test_other_forms_of_a_table(tmp_path: Path, name: str) -> None:
    rows = [(path, "xy"[i % 2]) for i, path in enumerate(images(tmp_path, 4))]
    text = "\n".join(FORMS[name].join(row) for row in [("path", "label"), *rows])
    if name.endswith("ndjson"):
        text = "\n".join(json.dumps({"path": path, "label": label}) for path, label in rows)
    packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(packed)
    assert sources.suggest(tmp_path / name) == {"kind": "manifest", "path": str(tmp_path / name)}
    assert listed(tmp_path / name).counts() == {"x": 2, "y": 2}
    if FORMS[name]:  # without its header
        text = text.partition("\n")[2]
        packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        (tmp_path / name).write_bytes(packed)
        assert listed(tmp_path / name).counts() == {"x": 2, "y": 2}
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(packed[:-9])
        with pytest.raises(UserError, match="cannot read the manifest"):
            listed(tmp_path / name)


def test_blank_lines_count_as_rows(tmp_path: Path) -> None:
    images(tmp_path, 2)
    (tmp_path / "m.csv").write_text("\n\npath,label\n\nimg/0.png,a\r\n\n\nno.png,b\nimg/1.png,b\n\n\n")
    listing = listed(tmp_path / "m.csv")
    assert listing.ids == ["img/0.png", "img/1.png"]
    assert [bad.reason for bad in listing.bad] == ["row 5: file does not exist"]
    assert listing.notes == ("3 empty rows of the table left out",)


@pytest.mark.parametrize("tab", ["\t", "\\t"])
def test_a_separator_line_with_a_tab(tmp_path: Path, tab: str) -> None:
    images(tmp_path, 2)
    (tmp_path / "m.csv").write_text(f"sep={tab}\npath\tlabel\nimg/0.png\ta,b\nimg/1.png\tc,d\n")
    assert listed(tmp_path / "m.csv").classes == ("a,b", "c,d")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('"a\nimg/1.png,b\nimg/2.png,"', r"row 2 of .* has a line break in its column 'label': 'a\\nimg"),
        ("x" * 20_000, r"row 2 of .* has 20,000 characters in its column 'label': 'x"),
        ("x" * 9_000_000, "a row of more than 4,194,304 bytes; perhaps a quote is not closed"),
    ],
)
def test_cells_of_a_quote_that_is_not_closed(tmp_path: Path, cell: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(f"path,label\nimg/0.png,a\nimg/1.png,{cell}\nimg/2.png,b\n")
    with pytest.raises(UserError, match=message) as caught:
        listed(tmp_path / "m.csv")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_cell_of_megabytes_that_is_not_used(tmp_path: Path) -> None:
    images(tmp_path, 2)
    text = f"path,label,notes\nimg/0.png,a,{'x' * 3_000_000}\nimg/1.png,b,\n"
    (tmp_path / "m.csv").write_text(text)
    assert listed(tmp_path / "m.csv").classes == ("a", "b")
