"""A folder with a sub-folder of pictures per class, optionally below train, val and test."""

from __future__ import annotations

import filecmp
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._files import Files, masks_note, walk, without
from augpipe.data.sources._foreign import advice
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._labels_beside import check_labels_beside, files_beside, table_hint
from augpipe.data.sources._layout import COPY, Layout, NoClassError, Template, arrange, shared_top, without_copy
from augpipe.data.sources._listing import SPLIT_NAMES, Attributes, Classes, Fetch, Listing, Rows, Texts, WholePath
from augpipe.data.sources._numbered_lists import check_numbered_lists
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._sidecars import boxes_hint, sidecar_notes, sidecars
from augpipe.data.sources._single_folder import beside_hint, check_single, inside_hint, numbered_names_hint
from augpipe.data.sources._source import SourceConfig
from augpipe.data.sources._split_lists import split_list_notes

GENERAL: Final = True
WORD: Final = re.compile(r"[^\W\d_]+([ ._-]).")  # a class and a sign at the beginning of a file's name


class ClassFolders(SourceConfig):
    """Options of a folder whose files are in class folders."""

    path: WholePath
    """The folder."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

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
    images = list_files(config, files, files.paths)
    return replace(images, ignored=dict(files.ignored))


def list_files(config: ClassFolders, files: Files, pictures: Sequence[str]) -> Listing:
    """List the pictures among the files of a folder by their class folders; UserError if there are none."""
    where = f"the folder {config.path}"
    wanted, notes = without(pictures, config.exclude, where)
    folders = _without_emptied(files.folders, pictures, wanted)
    beside = {} if config.layout else sidecars(config.path, folders, wanted)
    folders = [f for f in folders if not any(f"{f}/".startswith(f"{one}/") for one in beside)]
    top = _around(config.layout, config.attributes, wanted, folders) if config.layout else shared_top(wanted, folders)
    paths, copy = [path.removeprefix(top) for path in wanted], ""
    if config.layout is None:
        paths, copy = without_copy(paths, partial(_equal, config.path / top))
    folders = [f.removeprefix(top) for f in folders if f.startswith(top)]
    if copy:
        folders = [folder for folder in folders if folder.split("/", 1)[0] != copy]
    if not paths and files.folders and files.ignored and not files.bad:
        have = choices(f"{n:,} {suffix}" for suffix, n in sorted(files.ignored.items()))
        raise UserError(f"{where} has no picture of a supported format, but {have}{advice(config.path)}")
    try:
        images = arrange(
            paths, config.layout, config.classes, where, opening(config.path / top), folders, config.attributes
        )
    except UserError as error:
        hint = boxes_hint(config.path, beside, wanted)
        if isinstance(error, NoClassError):
            hint = hint or (table_hint(config.path, top, paths) if paths else advice(config.path))
            hint = hint or _layout_hint(paths)
        first = f"; {files.bad[0].id}: {files.bad[0].reason}" if files.bad and not paths else ""
        raise UserError(f"{error}{hint}{first}") from None
    if config.layout is None:
        notes = (*notes, *_checked_beside(config, top, images, beside, where))
    notes = (
        *notes,
        *sidecar_notes(beside),
        *([f"the class folders are read from {top[:-1]}, the only folder"] if top else []),
        *([COPY.format(copy)] if copy else []),
    )
    return replace(
        images,
        bad=(*files.bad, *images.bad),
        lost=tuple(files.lost),
        notes=(*images.notes, *notes, *masks_note(images.ids)),
    )


def _checked_beside(
    config: ClassFolders, top: str, images: Listing, beside: Mapping[str, Counter[str]], where: str
) -> tuple[str, ...]:
    """Notes of lists of a split beside the class folders; UserError if what lies beside has the classes or groups."""
    single = config.classes is None and len(images.classes) == 1
    if single:
        hint = inside_hint(images.ids, images.classes[0]) or boxes_hint(config.path, beside, images.ids)
        check_single(images.classes[0], where, hint)
    names = [images.classes[label] for label in images.labels]
    divided = images.splits is not None
    check_labels_beside(config.path, top, images.ids, names, beside, divided)
    if single:
        check_single(images.classes[0], where, beside_hint(config.path, top, beside))
    if divided:
        return ()
    lists = files_beside(config.path, top, beside)
    check_numbered_lists(lists, images.ids, where)
    return split_list_notes(lists, images.ids)


def _around(layout: str, attributes: Sequence[str], paths: Sequence[str], folders: Sequence[str]) -> str:
    """Folders around all classes if a layout reads no class from the whole paths, or only these folders; else "".

    A layout that a message proposes is that of the paths below them.
    """
    top = shared_top(paths, folders, keep_splits=True)
    if not top:
        return ""
    parsed = Layout(layout, attributes)
    labels = {place.label for path in paths if (place := parsed.match(path)) is not None}
    return top if labels <= set(top.split("/")) else ""


def _layout_hint(paths: Sequence[str]) -> str:
    """A layout of files whose names may begin with the class, `cat_1.png`; "" if none does."""
    for path in paths[:1]:
        folder, slash, name = path.rpartition("/")
        if match := WORD.match(name):
            known = folder.split("/")[0].lower() in SPLIT_NAMES
            above = "{split}/" if known and "/" not in folder else f"{'**' if slash else ''}{slash}"
            layout = f"{above}{{label-}}{match[1]}*"
            return f"; if the names of the files begin with the class, as {path!r}, set source.layout={layout!r}"
    return numbered_names_hint(paths)


def _equal(root: Path, one: str, other: str) -> bool:
    return filecmp.cmp(root / one, root / other, shallow=False)


def _without_emptied(folders: Sequence[str], before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The folders without those all of whose pictures were left out; they are no classes without pictures."""
    if len(before) == len(after):
        return list(folders)
    had, have = ({str(parent) for path in paths for parent in PurePosixPath(path).parents} for paths in (before, after))
    return [folder for folder in folders if folder in have or folder not in had]


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
