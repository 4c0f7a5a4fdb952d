"""A folder with a sub-folder of pictures for each class, or for each of train, val and test first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from augpipe.core.errors import UserError
from augpipe.core.schema import KindConfig
from augpipe.data.sources._files import walk
from augpipe.data.sources._layout import Template, arrange
from augpipe.data.sources._listing import Classes, Fetch, Listing, Rows, WholePath
from augpipe.data.sources._pictures import SUFFIXES, Blob


class Config(KindConfig):
    """Options of a folder of pictures."""

    kind: Literal["folder"]
    """A folder with a sub-folder of pictures for each class."""

    path: WholePath
    """The folder."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    layout: Template | None = None
    """Where class, group and split are in a picture's path, such as `{label}/{group}/*`. null: the first folder is the
    class, or the split if the first folders are called train, val and test."""


def suggest(path: Path) -> dict[str, Any] | None:
    """The config for what a user points at; None where it is not this kind's."""
    return {"kind": "folder", "path": str(path)} if path.is_dir() else None


def place(config: Config) -> Path:
    """Where nothing is ever written."""
    return config.path


def listing(config: Config) -> Listing:
    """Every picture of every class; UserError where there is no folder to read."""
    require_folder(config.path)
    found = walk(config.path, SUFFIXES)
    made = arrange(
        found.paths, config.layout, config.classes, f"the folder {config.path}",
        opening(config.path), found.folders,
    )  # fmt: skip
    return replace(
        made, bad=(*found.bad, *made.bad), lost=tuple(found.lost), ignored=dict(found.ignored)
    )


def require_folder(root: Path) -> None:
    """UserError where `root` is not a folder."""
    if not root.is_dir():
        what = "is a file, not a folder of class folders" if root.exists() else "does not exist"
        raise UserError(f"the folder {root} {what}")


def opening(root: Path) -> Any:
    """How files below `root` are fetched."""

    def of(ids: Sequence[str]) -> Fetch:
        def fetch(rows: Rows) -> Iterator[Blob]:
            for row in rows:
                yield root / ids[row]

        return fetch

    return of
