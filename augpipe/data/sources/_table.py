"""A CSV or Parquet table of files, read as text, and why a row cannot be used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._files import printable
from augpipe.data.sources._listing import Bad, known_split, one_spelling


def read_table(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The columns by our names as text, "" for what is missing; columns: our names → the table's.

    UserError where the table cannot be read, or has no paths or labels.
    """
    if not path.is_file():
        raise UserError(
            f"the manifest {path} {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    import pyarrow as pa  # 50 MB: only where there is a table

    try:
        found = _read(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the manifest {path}: {' '.join(str(error).split())}"
        ) from None
    have = found.column_names
    for name in (columns["path"], columns["label"]):
        if have.count(name) != 1:
            what = "has no column" if name not in have else "has twice the column"
            raise UserError(
                f"the manifest {path} {what} {name!r}; have {choices(have)} "
                "(source.columns gives other names)"
            )
    known = {key: _text(found[name], f"the column {name!r} of {path}")
             for key, name in columns.items() if name in have}  # fmt: skip
    if not found.num_rows:
        raise UserError(f"the manifest {path} has no rows")
    return pd.DataFrame(
        {key: told if key == "path" else _stripped(told) for key, told in known.items()}
    )


def _stripped(column: NDArray[np.object_]) -> NDArray[np.object_]:
    """Without spaces around: ` cat` after a comma is cat."""
    kinds = {name: str(name).strip() for name in pd.unique(column)}
    if all(name == plain for name, plain in kinds.items()):
        return column
    return np.array([kinds[name] for name in column], object)


def _read(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if path.suffix.lower() == ".parquet":
        return parquet.read_table(path)
    # Read as text throughout: a guessed type makes 1 and 01 the same, and NA of a class called NA.
    parsing = csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True)
    with csv.open_csv(path, parse_options=parsing) as peek:
        names = peek.schema.names
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    found = csv.read_csv(path, parse_options=parsing, convert_options=converting)
    # Spaces after a delimiter belong to nobody's name.
    return found.rename_columns([name.strip() for name in names])


def _delimiter(path: Path) -> str:
    """What parts the head's names: a comma, a semicolon (as spreadsheets in many countries write) or a tab."""
    with path.open(encoding="utf-8-sig") as stream:
        head = stream.readline(10_000)
    return max(",;\t", key=head.count) if head.strip() else ","


def _text(column: Any, where: str) -> NDArray[np.object_]:
    """Any plain column → text; whole numbers without a point, missing as ""."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_floating(kind):
        # A column of whole numbers with a gap in it has become one of floats.
        values = column.to_pandas()
        told = [("" if np.isnan(v) else f"{v:.0f}" if v == round(v) else repr(float(v)))
                if not np.isinf(v) else str(v) for v in values]  # fmt: skip
        return np.array(told, dtype=object)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
            or pa.types.is_boolean(kind)):  # fmt: skip
        raise UserError(f"{where} holds {kind}, which is no text and no number")
    found: NDArray[np.object_] = np.asarray(
        column.cast(pa.large_string()).fill_null("").to_numpy(), dtype=object
    )
    return found


class Checks:
    """The rows' values, and why a row cannot be used ("" where it can)."""

    def __init__(self, table: pd.DataFrame, root: Path, path: Path, label: str) -> None:
        self._table, self._path, self._label = table, path, label
        self.labels = table["label"].to_numpy(dtype=object)
        given = table["path"].to_numpy(dtype=object)
        self.reasons = np.full(len(table), "", dtype=object)
        self.paths = _Paths(root).resolve(given, self.reasons)
        self._because(self.labels == "", "no label")
        self.splits = self._splits()
        self.weights = self._weights()
        self._twice()
        self._one_number_two_spellings()

    def column(self, key: str) -> NDArray[np.object_] | None:
        """A column's text, None where the table has none."""
        return self._table[key].to_numpy(dtype=object) if key in self._table else None

    def bad(self) -> tuple[Bad, ...]:
        """Rows that cannot be used; the first row below the head is 1."""
        rows = np.flatnonzero(self.reasons != "")
        given = self._table["path"].to_numpy(dtype=object)
        return tuple(
            Bad(printable(str(given[r])) or f"row {r + 1}", f"row {r + 1}: {self.reasons[r]}",
                str(self.labels[r]))
            for r in rows
        )  # fmt: skip

    def _because(self, where: NDArray[np.bool_], reason: str) -> None:
        self.reasons[where & (self.reasons == "")] = reason

    def _splits(self) -> NDArray[np.object_] | None:
        found = self.column("split")
        if found is None or not (found != "").any():
            return None
        names = {
            str(name): known_split(str(name), f"the manifest {self._path}")
            for name in pd.unique(found) if name != ""
        }  # fmt: skip
        self._because(found == "", "no split, where others have one")
        return np.array([names.get(name, "") for name in found], dtype=object)

    def _weights(self) -> NDArray[np.float64] | None:
        found = self.column("weight")
        if found is None:
            return None
        numbers = pd.to_numeric(pd.Series(found), errors="coerce").to_numpy(np.float64)
        self._because(~(np.isfinite(numbers) & (numbers > 0)), "a weight that is no number above 0")
        return np.asarray(numbers, np.float64)

    def _twice(self) -> None:
        """A path given again: an image that stands on both sides of the split, or of two classes."""
        rows = pd.DataFrame({"path": self.paths, "label": self.labels})[self.reasons == ""]
        again = rows.duplicated("path", keep=False)
        if not again.any():
            return
        kinds = rows[again].groupby("path")["label"].nunique()
        torn = set(kinds.index[kinds > 1])
        both = rows["path"].isin(torn).to_numpy()
        at = np.asarray(rows.index)
        self.reasons[at[both]] = "given again with another label"
        second = rows.duplicated("path").to_numpy() & ~both
        self.reasons[at[second]] = "given twice"

    def _one_number_two_spellings(self) -> None:
        names = [str(n) for n in pd.unique(self.labels[self.reasons == ""])]
        if len(names) > 10_000:
            raise UserError(
                f"the column {self._label!r} of {self._path} has {len(names):,} "
                "different labels; is it the class?"
            )
        one_spelling(names, str(self._path))


@dataclass
class _Paths:
    """Paths of a table, each checked against the root; folders are listed once, not asked file by file."""

    root: Path

    def resolve(
        self, given: NDArray[np.object_], reasons: NDArray[np.object_]
    ) -> NDArray[np.object_]:
        """Given paths → paths with `/` below the root; the reasons of those that cannot be used are set."""
        told = np.empty(len(given), dtype=object)
        whole = self.root.resolve()
        below = f"{self.root.as_posix()}/"
        folders: dict[str, dict[str, str]] = {}
        for row, path in enumerate(given):
            plain = path[len(below):] if path.startswith(below) else path  # fmt: skip
            told[row] = plain
            if not plain:
                reasons[row] = "no path"
                continue
            if plain.startswith("/") or "\0" in plain or ".." in plain.split("/"):
                reasons[row] = f"a path that leaves the root {self.root}"
                continue
            if "./" in plain or "//" in plain:
                plain = told[row] = os.path.normpath(plain)
            folder, _, name = plain.rpartition("/")
            if folder not in folders:
                folders[folder] = self._names(folder, whole)
            reasons[row] = folders[folder].get(name, folders[folder].get("", "no such file"))
        return told

    def _names(self, folder: str, whole: Path) -> dict[str, str]:
        """Names of a folder's files → why they cannot be used; under "" why none can."""
        place = self.root / folder
        try:
            if not place.resolve(strict=True).is_relative_to(whole):
                return {"": f"a link that leaves the root {self.root}"}
            entries = list(os.scandir(place))
        except (OSError, RuntimeError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            return {"": "no such file" if missing else str(getattr(error, "strerror", error))}
        names = {}
        for entry in entries:
            try:
                names[entry.name] = "" if entry.is_file() else "not a file"
                if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(
                    whole
                ):
                    names[entry.name] = f"a link that leaves the root {self.root}"
            except (OSError, RuntimeError):
                names[entry.name] = "a link that leads nowhere, or to itself"
        return names
