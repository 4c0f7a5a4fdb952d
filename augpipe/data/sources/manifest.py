"""A table of files: CSV or Parquet with path and label per row, and optionally group, split and weight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field

from augpipe.core.errors import UserError, several
from augpipe.core.schema import KindConfig, Strict
from augpipe.data.sources._listing import Classes, Listing, Rows, WholePath, labelled
from augpipe.data.sources._pictures import Blob

SUFFIXES: Final = (".csv", ".tsv", ".parquet")


class Columns(Strict):
    """Names of the table's columns; group, split and weight are optional."""

    path: str = "path"
    """Path of the picture, relative to `root`: a column, or a template of columns such as `{folder}/{image_id}.jpg`. Folder and
    suffix may be missing where only one picture below the root fits."""

    label: str | Annotated[tuple[str, ...], Field(min_length=2)] = "label"
    """Class: a column, or one column for each class with 1 for its pictures and 0 for the others (one-hot)."""

    group: str = "group"
    """What must not be divided between train, val and test, such as the patient."""

    split: str = "split"
    """train, val or test."""

    weight: str = "weight"
    """How often the image is drawn, relative to the others of its class."""


class Config(KindConfig):
    """Options of a table of files. Paths that leave the root, and incomplete rows, are quarantined."""

    kind: Literal["manifest"]
    """A CSV or Parquet table with a path and a label per row."""

    path: WholePath
    """The table."""

    root: WholePath | None = None
    """Folder that the paths are relative to. null: the table's own."""

    columns: Columns = Columns()
    """Names of the table's columns, where they differ from the defaults."""

    classes: Classes = None
    """Use only these labels, in this order. null: all, sorted."""

    ignore: tuple[str, ...] = ()
    """Columns that are left unused although they look like groups."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it is not a table."""
    matches = path.is_file() and path.suffix.lower() in SUFFIXES
    return {"kind": "manifest", "path": str(path)} if matches else None


def place(config: Config) -> Path | None:
    """The root, which must never be written to; None if it contains the working directory and was not set."""
    root = config.root or config.path.parent
    contains_cwd = Path.cwd().is_relative_to(root.resolve())
    return None if contains_cwd and config.root is None else root


def listing(config: Config) -> Listing:
    """List the usable rows; UserError if the table cannot be read or lacks a column."""
    root = config.root or config.path.parent
    if not root.is_dir():
        raise UserError(f"the root {root} of the manifest {config.path} is not a folder")
    # Imported here because it imports pandas, which the options do not need.
    from augpipe.data.sources._table import Checks, read_table
    from augpipe.data.sources._unused import check_unused

    names, defaults = config.columns.model_dump(), Columns().model_dump()
    given = [key for key in ("group", "split", "weight") if names[key] != defaults[key]]
    table = read_table(config.path, names, given, root)
    rows = Checks(table.rows, root, config.path, str(config.columns.label))
    unused = check_unused(
        table.others, rows.labels, where=f"the manifest {config.path}", what="column",
        has_groups=rows.column("group") is not None, ignored=config.ignore,
        setting="source.columns.group={}",
    )  # fmt: skip
    retained = np.flatnonzero(rows.reasons == "")
    labels, classes = labelled(rows.labels[retained], config.classes, f"the manifest {config.path}")
    n_dropped = int((labels < 0).sum())
    retained, labels = retained[labels >= 0], labels[labels >= 0]
    paths = rows.paths[retained]
    ids = paths.tolist()

    def fetch(requested: Rows) -> Iterator[Blob]:
        for row in requested:
            yield root / ids[row]

    group = rows.column("group")
    return Listing(
        ids=ids,
        labels=labels,
        classes=classes,
        fetch=fetch,
        groups=None if group is None else np.where(group[retained] == "", paths, group[retained]),
        splits=None if rows.splits is None else rows.splits[retained],
        weights=None if rows.weights is None else rows.weights[retained],
        bad=rows.bad(),
        notes=(
            *_missing_value_names(classes),
            *unused,
            *rows.notes,
            *((f"{several(n_dropped, 'row')} of other classes left out",) if n_dropped else ()),
        ),
    )


def _missing_value_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Note class names that look like a missing value."""
    names = [name for name in classes if name.lower() in ("nan", "none", "null", "n/a", "<na>")]
    return tuple(
        f"the label {name!r} is read as a class name, not as a missing value" for name in names
    )
