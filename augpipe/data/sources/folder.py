"""A folder with a sub-folder of pictures per class, optionally below train, val and test."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from augpipe.core.errors import UserError
from augpipe.data.sources._class_folders import Tree, list_tree
from augpipe.data.sources._files import Files, walk
from augpipe.data.sources._foreign import advice
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._listing import Attributes, Classes, Fetch, Listing, Rows, Texts, WholePath
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._place import Beside
from augpipe.data.sources._source import SourceConfig
from augpipe.data.sources._template import Template

GENERAL: Final = True


class ClassFolders(SourceConfig):
    """Options of a folder whose files are in class folders."""

    path: WholePath
    """The folder."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    include: Texts = ()
    """Read only pictures whose path matches one of these patterns, such as `scans/*`; `*` also matches `/`."""

    exclude: Texts = ()
    """Leave out pictures whose path matches one of these patterns, such as `*_mask.png` or `test/*`;
    `*` also matches `/`.
    """

    attributes: Attributes = ()
    """Fields of `layout` by whose values the test images are scored too,
    such as `[scanner]` of `{label}/{scanner}/*`.
    """

    layout: Template | None = None
    """Where class, group and split are in a picture's path, such as `{label}/{group}/*`. null: the first folder is the
    class, or the split if the first folders are called train, val and test."""


class Config(ClassFolders):
    """Options of a folder of pictures."""

    kind: Literal["folder"]
    """A folder with a sub-folder of pictures for each class."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it is not a folder."""
    return {"kind": "folder", "path": str(path)} if path.is_dir() else None


def places(config: Config) -> tuple[Path, ...]:
    """The folder, which must never be written to."""
    return (config.path,)


def check(config: Config) -> None:
    """UserError if the folder does not exist."""
    require_folder(config.path)


def listing(config: Config) -> Listing:
    """List every picture of every class; UserError if the folder does not exist."""
    require_folder(config.path)
    files = walk(config.path, SUFFIXES)
    return list_files(config, files, files.paths)


def list_files(config: ClassFolders, files: Files, pictures: Sequence[str]) -> Listing:
    """List the pictures among the files of a folder by their class folders; UserError if there are none."""
    root = config.path
    images = list_tree(
        config,
        Tree(
            where=f"the folder {root}",
            beside=Beside(root),
            pictures=pictures,
            folders=files.folders,
            bad=files.bad,
            ignored=files.ignored,
            opening=lambda top: opening(root / top),
            equal=lambda one, other: filecmp.cmp(root / one, root / other, shallow=False),
            advice=lambda: advice(root),
        ),
    )
    return replace(images, lost=tuple(files.lost))


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
