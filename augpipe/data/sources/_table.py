"""Read a CSV or Parquet table of files as text and check its rows."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._files import printable
from augpipe.data.sources._listing import Bad, known_split, one_spelling
from augpipe.data.sources._paths import Paths

LOOKED_AT: Final = 50  # rows
ONES, ZEROS = ("1", "1.0", "true"), ("0", "0.0", "false", "")  # of one-hot columns
MOSTLY: Final = 0.8
LABEL_NAMES: Final = re.compile(
    r"labels?|class(es|_?name|_?id)?|dx|diagnosis|diagnose|target|category|finding|species|grade|y",
    re.IGNORECASE,
)


class Table(NamedTuple):
    """Rows under augpipe's names, as text, "" for missing values; and the other columns by their own names, None where
    their values are not text or numbers."""

    rows: pd.DataFrame
    others: dict[str, NDArray[np.object_] | None]


def read_table(path: Path, columns: Mapping[str, Any], given: Collection[str], root: Path) -> Table:
    """Read a table.

    columns: augpipe's names → the table's: of the path a name or a template, of the label a name or those of one-hot
    columns. given: augpipe's names of columns that have to be there besides path and label. root: of the pictures, for
    the proposal of columns. UserError if the table cannot be read or lacks one.
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
    needed = {key: _names_of(key, columns[key]) for key in columns}
    for key in ("path", "label", *given):
        for name in needed[key]:
            if have.count(name) != 1:
                raise _no_column(path, key, name, table, root)
    if not table.num_rows:
        raise UserError(f"the manifest {path} has no rows")
    values = {
        name: _text(table[name], f"the column {name!r} of {path}")
        for names in needed.values() for name in names if name in have
    }  # fmt: skip
    rows = {"path": _paths(columns["path"], needed["path"], values)}
    if isinstance(columns["label"], str):
        rows["label"] = _stripped(values[columns["label"]])
    else:
        rows["label"] = _one_hot(columns["label"], values, path)
    for key in columns:
        if key not in rows and columns[key] in values:
            rows[key] = _stripped(values[columns[key]])
    unused = [name for name in have if name not in values and have.count(name) == 1]
    # Converted only where they may be groups: a table may have hundreds of columns of features.
    others = {
        name: None if "group" in rows or _is_float(table[name]) else _text_or_none(table[name])
        for name in unused
    }
    return Table(pd.DataFrame(rows), others)


def _names_of(key: str, value: Any) -> tuple[str, ...]:
    """The table's columns that a setting needs."""
    if key == "path" and (fields := re.findall(r"\{([^{}]*)\}", value)):
        return tuple(fields)
    return (value,) if isinstance(value, str) else tuple(value)


def _paths(
    template: str, names: Sequence[str], values: Mapping[str, NDArray[np.object_]]
) -> NDArray[np.object_]:
    if names == (template,):
        return values[template]
    filled = []
    for row in zip(*(values[name] for name in names), strict=True):
        path = template
        for name, value in zip(names, row, strict=True):
            path = path.replace(f"{{{name}}}", value.strip())
        filled.append(path)
    return np.array(filled, object)


def _one_hot(
    names: Sequence[str], values: Mapping[str, NDArray[np.object_]], path: Path
) -> NDArray[np.object_]:
    """The name of the column with a 1 in each row, "" for none; UserError for several or for other values."""
    text = np.stack([pd.Series(values[name]).str.strip().str.lower() for name in names])
    marked, unmarked = (np.isin(text.astype(str), options) for options in (ONES, ZEROS))
    wrong, ones = ~(marked | unmarked).all(0), marked.sum(0)
    for row in np.flatnonzero(wrong | (ones > 1))[:1]:
        shown = {name: str(values[name][row]) for name in names}
        raise UserError(
            f"row {row + 1} of the manifest {path} has the labels {shown}: one of these columns must be 1 and the others "
            "0. Several labels per image are not supported; set source.columns.label to one column"
        )
    return np.where(ones == 1, np.array(names, object)[marked.argmax(0)], "")


def _no_column(path: Path, key: str, name: str, table: Any, root: Path) -> UserError:
    have = table.column_names
    problem = "has no column" if name not in have else "has more than one column"
    near = difflib.get_close_matches(name, have, n=1) if name not in have else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    proposed = {}
    if key in ("path", "label"):
        proposed = proposal(_columns_of(_sample(table, LOOKED_AT)), root)
    options = " ".join(
        f"--set {shlex.quote(f'source.columns.{k}={v}')}" for k, v in proposed.items()
    )
    return UserError(
        f"the manifest {path} {problem} {name!r}{hint}; it has {choices(have)} "
        f"(set source.columns.{key} for another name)" + (f"; try {options}" if options else "")
    )


def read_columns(path: Path, rows: int) -> dict[str, NDArray[np.object_]]:
    """Columns of text or numbers of a table, as text, of so many rows evenly spaced; none if it cannot be read."""
    import pyarrow as pa

    try:
        table = _read(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return {}
    return _columns_of(_sample(table, rows))


def _sample(table: Any, rows: int) -> Any:
    n = table.num_rows
    return table.take(np.linspace(0, n - 1, min(rows, n)).astype(int)) if n else table


def _columns_of(table: Any) -> dict[str, NDArray[np.object_]]:
    names = [name for name in table.column_names if table.column_names.count(name) == 1]
    columns = {name: _text_or_none(table[name]) for name in names}
    return {name: values for name, values in columns.items() if values is not None}


def proposal(columns: Mapping[str, NDArray[np.object_]], root: Path) -> dict[str, str]:
    """`path`: a column that names pictures below the root; `label`: one that by its name holds classes; where there are such."""
    paths, settings = Paths(root), {}
    for name, values in columns.items():
        if len(values) and np.mean([not paths.one(str(v))[1] for v in values[:LOOKED_AT]]) > MOSTLY:
            settings["path"] = name
            break
    likely = [n for n in columns if LABEL_NAMES.fullmatch(n.strip()) and n != settings.get("path")]
    return settings | ({"label": likely[0]} if likely else {})


def _is_float(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(column.type))


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
        checked = Paths(root)
        self.paths = checked.resolve(paths, self.reasons)
        self.notes = checked.notes()
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
