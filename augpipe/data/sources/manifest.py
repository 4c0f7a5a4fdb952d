"""A table of files: CSV or Parquet with a path and a label a row, and group, split and weight where it has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from augpipe.core.errors import UserError, several
from augpipe.core.schema import KindConfig, Strict
from augpipe.data.sources._listing import Classes, Listing, Rows, WholePath, labelled
from augpipe.data.sources._pictures import Blob

SUFFIXES: Final = (".csv", ".tsv", ".parquet")


class Columns(Strict):
    """Names of the table's columns; group, split and weight are optional."""

    path: str = "path"
    """Path of the picture, relative to `root`."""

    label: str = "label"
    """Class."""

    group: str = "group"
    """What must stay on one side of the split, such as the patient."""

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
    from augpipe.data.sources._table import Checks, read_table  # pandas: options are needed without

    table = read_table(config.path, config.columns.model_dump())
    rows = Checks(table, root, config.path, config.columns.label)
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
