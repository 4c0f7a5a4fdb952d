"""A table of files: CSV or Parquet with a path and a label a row, and group, split and weight where it has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, several
from augpipe.core.schema import KindConfig, Strict
from augpipe.data.sources._files import printable
from augpipe.data.sources._listing import (
    Bad,
    Classes,
    Listing,
    Rows,
    WholePath,
    known_split,
    labelled,
    one_spelling,
)
from augpipe.data.sources._pictures import Blob

SUFFIXES: Final = (".csv", ".tsv", ".parquet")


class Columns(Strict):
    """What the table's columns are called; group, split and weight are read where they are there."""

    path: str = "path"
    label: str = "label"
    group: str = "group"
    split: str = "split"
    weight: str = "weight"


class Config(KindConfig):
    """`path`: the table; `root`: the folder that its paths are relative to (default: the table's own).

    columns: their names where they are others. classes: only these labels, in this order (default: all,
    sorted). Paths that leave the root, and rows that miss something, are quarantined.
    """

    kind: Literal["manifest"]
    path: WholePath
    root: WholePath | None = None
    columns: Columns = Columns()
    classes: Classes = None


def suggest(path: Path) -> dict[str, Any] | None:
    """The config for what a user points at; None where it is not this kind's."""
    named = path.is_file() and path.suffix.lower() in SUFFIXES
    return {"kind": "manifest", "path": str(path)} if named else None


def place(config: Config) -> Path | None:
    """Where nothing is ever written; None where the table lies beside all that is being worked on."""
    root = config.root or config.path.parent
    around = Path.cwd().is_relative_to(root.resolve())
    return None if around and config.root is None else root


def listing(config: Config) -> Listing:
    """The rows whose files are there; UserError where the table cannot be read or has no such columns."""
    root = config.root or config.path.parent
    if not root.is_dir():
        raise UserError(f"the root {root} of the manifest {config.path} is not a folder")
    table = _table(config)
    rows = _Checks(config, table, root)
    keep = np.flatnonzero(rows.reasons == "")
    names = rows.labels[keep]
    labels, classes = labelled(names, config.classes, f"the manifest {config.path}")
    left = int((labels < 0).sum())
    keep, labels = keep[labels >= 0], labels[labels >= 0]
    paths = rows.paths[keep]
    ids = paths.tolist()

    def fetch(asked: Rows) -> Iterator[Blob]:
        for row in asked:
            yield root / ids[row]

    group = rows.column("group")
    return Listing(
        ids=ids,
        labels=labels,
        classes=classes,
        fetch=fetch,
        groups=None if group is None else np.where(group[keep] == "", paths, group[keep]),
        splits=None if rows.splits is None else rows.splits[keep],
        weights=None if rows.weights is None else rows.weights[keep],
        bad=rows.bad(),
        notes=(
            *_odd(classes),
            *((f"{several(left, 'row')} of other classes left out",) if left else ()),
        ),
    )


def _odd(classes: tuple[str, ...]) -> tuple[str, ...]:
    """A note on classes that are called what programs write for a missing value."""
    odd = [name for name in classes if name.lower() in ("nan", "none", "null", "n/a", "<na>")]
    return tuple(f"the label {name!r} is taken as a class of that name" for name in odd)


def _table(config: Config) -> pd.DataFrame:
    """The table's known columns as text, "" for what is missing; UserError where it cannot be read."""
    path = config.path
    if not path.is_file():
        raise UserError(
            f"the manifest {path} {'is a folder' if path.is_dir() else 'does not exist'}"
        )
    import pyarrow as pa  # 50 MB: only where there is a table

    wanted = config.columns.model_dump()
    try:
        found = _read(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the manifest {path}: {' '.join(str(error).split())}"
        ) from None
    have = found.column_names
    for name in (wanted["path"], wanted["label"]):
        if have.count(name) != 1:
            what = "has no column" if name not in have else "has twice the column"
            raise UserError(
                f"the manifest {path} {what} {name!r}; have {choices(have)} "
                "(source.columns gives other names)"
            )
    columns = {key: _text(found[name], f"the column {name!r} of {path}")
               for key, name in wanted.items() if name in have}  # fmt: skip
    if not found.num_rows:
        raise UserError(f"the manifest {path} has no rows")
    return pd.DataFrame(
        {key: told if key == "path" else _stripped(told) for key, told in columns.items()}
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


class _Checks:
    """The rows' values, and why a row cannot be used ("" where it can)."""

    def __init__(self, config: Config, table: pd.DataFrame, root: Path) -> None:
        self._table, self._config = table, config
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
            str(name): known_split(str(name), f"the manifest {self._config.path}")
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
                f"the column {self._config.columns.label!r} of {self._config.path} has {len(names):,} "
                "different labels; is it the class?"
            )
        one_spelling(names, str(self._config.path))


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
