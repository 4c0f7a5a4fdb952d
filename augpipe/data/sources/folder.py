"""A folder with a sub-folder of pictures per class, optionally below train, val and test."""

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
    """Config for a path given by the user; None if it is not a folder."""
    return {"kind": "folder", "path": str(path)} if path.is_dir() else None


def place(config: Config) -> Path:
    """The folder, which must never be written to."""
    return config.path


def listing(config: Config) -> Listing:
    """List every picture of every class; UserError if the folder does not exist."""
    require_folder(config.path)
    files = walk(config.path, SUFFIXES)
    images = arrange(
        files.paths, config.layout, config.classes, f"the folder {config.path}",
        opening(config.path), files.folders,
    )  # fmt: skip
    return replace(
        images, bad=(*files.bad, *images.bad), lost=tuple(files.lost), ignored=dict(files.ignored)
    )


def require_folder(root: Path) -> None:
    """UserError if `root` is not a folder."""
    if not root.is_dir():
        problem = "is a file, not a folder of class folders" if root.exists() else "does not exist"
        raise UserError(f"the folder {root} {problem}")


def opening(root: Path) -> Any:
    """Function of ids that returns the fetch of files below `root`."""

    def for_ids(ids: Sequence[str]) -> Fetch:
        def fetch(rows: Rows) -> Iterator[Blob]:
            for row in rows:
                yield root / ids[row]

        return fetch

    return for_ids
