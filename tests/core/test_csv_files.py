from __future__ import annotations

import csv
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augpipe.core.csv_files import escaped, exact, write_csv

# Characters with which a spreadsheet starts a formula (OWASP, CSV injection).
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x.invalid","y")',
        "@SUM(A1)",
        "+1+1",
        "-2+3",
        "+cmd|' /C calc'!A0",
        "\t=1",
        "\r=1",
        "-",
        "'=1",
        "\n=1",
        "\uff1dA1",
        "-1\n",
    ],
)
def test_formulas_are_quoted(text: str) -> None:
    assert escaped(text) == f"'{text}" and exact(escaped(text)) == text


@pytest.mark.parametrize("text", ["-1", "+1", "-0.5", "a=b", "'quoted'", "", "x/-1", "été"])
def test_numbers_and_other_texts_are_left_alone(text: str) -> None:
    assert escaped(text) == exact(text) == text


@given(st.text(alphabet="'=+-@\t\r\n1.a;", max_size=8))
def test_every_text_is_restored_and_none_starts_a_formula(text: str) -> None:
    written = escaped(text)
    assert exact(written) == text
    for cell in written.split(";"):
        assert not cell.startswith(STARTS) or cell.lstrip("+-").replace(".", "", 1).isdigit()


def test_a_table_is_escaped_but_for_its_numbers_and_paths(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"file": ["-a/1.png", "b/2.png"], "class": ["=A1", "-1"], "value": [-1.5, float("nan")], "@note": ["", None]}
    )
    changed = write_csv(table, tmp_path / "x.csv", paths=["file"])
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["file", "class", "value", "'@note"], ["./-a/1.png", "'=A1", "-1.5", ""], ["b/2.png", "-1", "", ""]]
    assert changed == {"./-a/1.png": "-a/1.png", "'=A1": "=A1", "'@note": "@note"}
    assert table["class"].tolist() == ["=A1", "-1"]  # the argument is not changed


def test_a_formula_behind_a_semicolon_is_quoted_too() -> None:
    """Where ; separates cells, as in German Excel, it starts the next one."""
    assert escaped("x;=1+1") == "x;'=1+1" and exact("x;'=1+1") == "x;=1+1"


def test_many_formulas_take_no_time(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [f"=A{i}" for i in range(50_000)]})
    start = time.process_time()
    assert len(write_csv(table, tmp_path / "x.csv")) == 50_000
    assert time.process_time() - start < 10


def test_a_harmless_table_is_written_as_pandas_writes_it(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a,b", 'say "x"'], "n": [1, 2], "ok": [True, False]})
    assert write_csv(table, tmp_path / "x.csv") == {}
    assert (tmp_path / "x.csv").read_text() == table.to_csv(index=False)
