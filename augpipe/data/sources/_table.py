"""Read a CSV or Parquet table of files as text and check its rows."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._files import printable
from augpipe.data.sources._listing import Bad, known_split, one_spelling


class Table(NamedTuple):
    """Rows under augpipe's names, as text, "" for missing values; and the other columns by their own names, None where
    their values are not text or numbers."""

    rows: pd.DataFrame
    others: dict[str, NDArray[np.object_] | None]


def read_table(path: Path, columns: Mapping[str, str], given: Collection[str] = ()) -> Table:
    """Read a table.

    columns: augpipe's names → the table's names. given: augpipe's names of columns that have to be there besides path
    and label. UserError if the table cannot be read or lacks one.
    """
    if not path.is_file():
        raise UserError(
            f"the manifest {path} {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    import pyarrow as pa  # 50 MB: imported only if there is a table

    try:
        table = _read(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the manifest {path}: {' '.join(str(error).split())}"
        ) from None
    have = table.column_names
    for key in ("path", "label", *given):
        name = columns[key]
        if have.count(name) != 1:
            problem = "has no column" if name not in have else "has more than one column"
            near = difflib.get_close_matches(name, have, n=1) if name not in have else []
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(
                f"the manifest {path} {problem} {name!r}{hint}; it has {choices(have)} "
                f"(set source.columns.{key} for another name)"
            )
    columns_by_key = {key: _text(table[name], f"the column {name!r} of {path}")
             for key, name in columns.items() if name in have}  # fmt: skip
    if not table.num_rows:
        raise UserError(f"the manifest {path} has no rows")
    rows = pd.DataFrame(
        {
            key: values if key == "path" else _stripped(values)
            for key, values in columns_by_key.items()
        }
    )
    others = {
        name: _text_or_none(table[name])
        for name in have
        if name not in columns.values() and have.count(name) == 1
    }
    return Table(rows, others)


def _text_or_none(column: Any) -> NDArray[np.object_] | None:
    try:
        return _text(column, "")
    except UserError:
        return None


def _stripped(column: NDArray[np.object_]) -> NDArray[np.object_]:
    """Strip surrounding spaces: ` cat` after a comma becomes `cat`."""
    stripped = {name: str(name).strip() for name in pd.unique(column)}
    if all(name == plain for name, plain in stripped.items()):
        return column
    return np.array([stripped[name] for name in column], object)


def _read(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if path.suffix.lower() == ".parquet":
        return parquet.read_table(path)
    # Read everything as text: type inference would merge 1 and 01, and turn a class called NA into a missing value.
    parse = csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True)
    with csv.open_csv(path, parse_options=parse) as peek:
        names = peek.schema.names
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    # Spaces after a delimiter are not part of a column name.
    return table.rename_columns([name.strip() for name in names])


def _delimiter(path: Path) -> str:
    """Delimiter of the header: comma, semicolon (written by spreadsheets in many locales) or tab."""
    with path.open(encoding="utf-8-sig") as stream:
        head = stream.readline(10_000)
    return max(",;\t", key=head.count) if head.strip() else ","


def _text(column: Any, where: str) -> NDArray[np.object_]:
    """Column of text, numbers or booleans → text; whole numbers without a decimal point, missing values as ""."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_floating(kind):
        # An integer column with missing values was stored as float.
        values = column.to_pandas()
        formatted = [("" if np.isnan(v) else f"{v:.0f}" if v == round(v) else repr(float(v)))
                if not np.isinf(v) else str(v) for v in values]  # fmt: skip
        return np.array(formatted, dtype=object)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
            or pa.types.is_boolean(kind)):  # fmt: skip
        raise UserError(f"{where} is of type {kind}; use text, numbers, booleans")
    text: NDArray[np.object_] = np.asarray(
        column.cast(pa.large_string()).fill_null("").to_numpy(), dtype=object
    )
    return text


class Checks:
    """Values of the rows, and for each row the reason why it cannot be used ("" if it can)."""

    def __init__(self, table: pd.DataFrame, root: Path, path: Path, label: str) -> None:
        self._table, self._path, self._label = table, path, label
        self.labels = table["label"].to_numpy(dtype=object)
        paths = table["path"].to_numpy(dtype=object)
        self.reasons = np.full(len(table), "", dtype=object)
        self.paths = _Paths(root).resolve(paths, self.reasons)
        self._reject(self.labels == "", "no label")
        self.splits = self._splits()
        self.weights = self._weights()
        self._reject_duplicates()
        self._check_spellings()

    def column(self, key: str) -> NDArray[np.object_] | None:
        """Text of a column; None if the table does not have it."""
        return self._table[key].to_numpy(dtype=object) if key in self._table else None

    def bad(self) -> tuple[Bad, ...]:
        """Unusable rows; row 1 is the first below the header."""
        rows = np.flatnonzero(self.reasons != "")
        paths = self._table["path"].to_numpy(dtype=object)
        return tuple(
            Bad(printable(str(paths[r])) or f"row {r + 1}", f"row {r + 1}: {self.reasons[r]}",
                str(self.labels[r]))
            for r in rows
        )  # fmt: skip

    def _reject(self, where: NDArray[np.bool_], reason: str) -> None:
        self.reasons[where & (self.reasons == "")] = reason

    def _splits(self) -> NDArray[np.object_] | None:
        column = self.column("split")
        if column is None or not (column != "").any():
            return None
        names = {
            str(name): known_split(str(name), f"the manifest {self._path}")
            for name in pd.unique(column) if name != ""
        }  # fmt: skip
        self._reject(column == "", "no split, although other rows have one")
        return np.array([names.get(name, "") for name in column], dtype=object)

    def _weights(self) -> NDArray[np.float64] | None:
        column = self.column("weight")
        if column is None:
            return None
        numbers = pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(np.float64)
        self._reject(~(np.isfinite(numbers) & (numbers > 0)), "the weight is not a number above 0")
        return np.asarray(numbers, np.float64)

    def _reject_duplicates(self) -> None:
        """Reject repeated paths: they could put an image into both train and test, or into two classes."""
        rows = pd.DataFrame({"path": self.paths, "label": self.labels})[self.reasons == ""]
        repeated = rows.duplicated("path", keep=False)
        if not repeated.any():
            return
        n_labels = rows[repeated].groupby("path")["label"].nunique()
        conflicting = set(n_labels.index[n_labels > 1])
        in_conflict = rows["path"].isin(conflicting).to_numpy()
        index = np.asarray(rows.index)
        self.reasons[index[in_conflict]] = "duplicate path with another label"
        later = rows.duplicated("path").to_numpy() & ~in_conflict
        self.reasons[index[later]] = "duplicate path"

    def _check_spellings(self) -> None:
        """UserError if labels look like a continuous value or spell one number in two ways."""
        names = [str(n) for n in pd.unique(self.labels[self.reasons == ""])]
        if len(names) > 10_000:
            raise UserError(
                f"the column {self._label!r} of {self._path} has {len(names):,} "
                "different labels, too many for a class column"
            )
        one_spelling(names, str(self._path))


@dataclass
class _Paths:
    """Check paths of a table against the root; each folder is listed once instead of one `stat` per file."""

    root: Path

    def resolve(
        self, paths: NDArray[np.object_], reasons: NDArray[np.object_]
    ) -> NDArray[np.object_]:
        """Paths as written → paths with `/` relative to the root; sets `reasons` of unusable ones."""
        relative = np.empty(len(paths), dtype=object)
        resolved_root = self.root.resolve()
        prefix = f"{self.root.as_posix()}/"
        folders: dict[str, dict[str, str]] = {}

        def reason(plain: str) -> str:
            folder, _, name = plain.rpartition("/")
            if folder not in folders:
                folders[folder] = self._names(folder, resolved_root)
            return folders[folder].get(name, folders[folder].get("", "file does not exist"))

        for row, path in enumerate(paths):
            plain = path[len(prefix):] if path.startswith(prefix) else path  # fmt: skip
            relative[row] = plain
            if not plain:
                reasons[row] = "no path"
                continue
            if plain.startswith("/") or "\0" in plain or ".." in plain.split("/"):
                reasons[row] = f"a path outside the root {self.root}"
                continue
            if "./" in plain or "//" in plain:
                plain = relative[row] = os.path.normpath(plain)
            reasons[row] = reason(plain)
            if reasons[row] and (bare := plain.strip()) != plain and not reason(bare):
                relative[row], reasons[row] = bare, ""
        return relative

    def _names(self, folder: str, resolved_root: Path) -> dict[str, str]:
        """File names of a folder → reason why unusable ("" if usable); key "" holds a reason for the whole folder."""
        path = self.root / folder
        try:
            if not path.resolve(strict=True).is_relative_to(resolved_root):
                return {"": f"a link to outside the root {self.root}"}
            entries = list(os.scandir(path))
        except (OSError, RuntimeError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            return {
                "": "file does not exist" if missing else str(getattr(error, "strerror", error))
            }
        names = {}
        for entry in entries:
            try:
                names[entry.name] = "" if entry.is_file() else "not a file"
                if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(
                    resolved_root
                ):
                    names[entry.name] = f"a link to outside the root {self.root}"
            except (OSError, RuntimeError):
                names[entry.name] = "a broken or circular link"
        return names
