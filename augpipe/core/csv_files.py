"""Write tables as CSV files whose text no spreadsheet runs as a formula."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

# What spreadsheets take for a formula, at the start of a cell or behind a semicolon, which some take for the next one.
# -1 and +1 with nothing behind are numbers. Quotes before it count, so that `exact` is the inverse of `escaped`.
STARTS: Final = r"[=@\t\r\n\uff1d\uff0b\uff0d\uff20]|[+-](?!\d+(\.\d+)?\Z)"
FORMULA: Final = re.compile(rf"(?:\A|(?<=;))(?='*(?:{STARTS}))")
ESCAPED: Final = re.compile(rf"(?:\A|(?<=;))'(?='*(?:{STARTS}))")


def escaped(text: str) -> str:
    """The text, with ' before each part that a spreadsheet would run."""
    return FORMULA.sub("'", text)


def exact(text: str) -> str:
    """The inverse of `escaped`."""
    return ESCAPED.sub("", text)


def write_csv(table: pd.DataFrame, path: Path, paths: Sequence[str] = ()) -> dict[str, str]:
    """Write a table; returns the changed texts: as written → exact. Column names are changed like texts.

    paths: columns of relative paths, which get ./ and not ' before them, so that they stay paths.
    """
    written, changed = spreadsheet_safe(table, paths)
    written.to_csv(path, index=False)
    return changed


def spreadsheet_safe(table: pd.DataFrame, paths: Sequence[str] = ()) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table as `write_csv` writes it, and the changed texts."""
    table = table.copy()
    changed: dict[str, str] = {}
    for name in table.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]]:
        texts = {value for value in table[name].unique() if isinstance(value, str)}
        new = {text: _path(text) if name in paths else escaped(text) for text in texts}
        new = {text: written for text, written in new.items() if text != written}
        if new:
            table[name] = table[name].map(lambda value, new=new: new.get(value, value))
            changed |= {written: text for text, written in new.items()}
    columns = {name: escaped(name) for name in table.columns if escaped(name) != name}
    return table.rename(columns=columns), changed | {new: name for name, new in columns.items()}


def _path(text: str) -> str:
    """A relative path, with ./ before it if it starts like a formula."""
    return f"./{text}" if re.match(f"'*(?:{STARTS})", text) else text
