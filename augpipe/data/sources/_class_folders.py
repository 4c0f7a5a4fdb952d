"""List pictures by their class folders, in a folder or in an archive, and look at what lies beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._class_names import layout_hint, names_hint
from augpipe.data.sources._files import selected
from augpipe.data.sources._folder_notes import stem_of
from augpipe.data.sources._inner_folders import check_same_names, check_shared
from augpipe.data.sources._labels_beside import check_labels_beside, files_beside, groups_note, table_hint
from augpipe.data.sources._layout import COPY, arrange, shared_top, without_copy
from augpipe.data.sources._listing import Bad, Fetch, Listing
from augpipe.data.sources._masks import check_masks, table_advice
from augpipe.data.sources._numbered_lists import check_numbered_lists
from augpipe.data.sources._options import Options
from augpipe.data.sources._place import Beside
from augpipe.data.sources._sidecars import boxes_hint, sidecar_notes, sidecars
from augpipe.data.sources._single_folder import beside_hint, check_single, inside_hint
from augpipe.data.sources._split_lists import split_list_notes
from augpipe.data.sources._tables_of_folders import check_tables_of_folders
from augpipe.data.sources._template import Layout
from augpipe.data.sources._top_folders import check_copied_names
from augpipe.data.sources._unclear import UnclearFoldersError
from augpipe.data.sources._unlabelled_beside import check_labels_of_splits

TABLE: Final = "write a table with the columns path, label and group"


@dataclass(frozen=True)
class Tree:
    """Paths, with `/`, of pictures in folders, and what lies beside them.

    where: in messages. folders: all of them, also those without a picture. ignored: files that are no pictures, by
    suffix. opening: folders around all classes → ids → their fetch. equal: whether two pictures have the same bytes.
    advice: how to go on where there is no picture. full: a picture's path as tables beside it name it. more: further
    folders whose files lie beside the pictures.
    """

    where: str
    beside: Beside
    pictures: Sequence[str]
    folders: Sequence[str]
    bad: Sequence[Bad]
    ignored: Mapping[str, int]
    opening: Callable[[str], Callable[[Sequence[str]], Fetch]]
    equal: Callable[[str, str], bool]
    advice: Callable[[], str]
    full: Callable[[str], str] = str
    more: Sequence[str] = ()


def list_tree(config: Options, tree: Tree) -> Listing:
    """List the pictures by their class folders; UserError if there are none, or if these seem to be something else."""
    wanted, notes = selected(tree.pictures, config.include, config.exclude, tree.where)
    folders = _without_emptied(tree.folders, tree.pictures, wanted)
    beside = {} if config.layout else sidecars(tree.beside.root, folders, wanted)
    folders = [f for f in folders if not any(f"{f}/".startswith(f"{one}/") for one in beside)]
    top = _around(config.layout, config.attributes, wanted, folders) if config.layout else shared_top(wanted, folders)
    paths, copy = [path.removeprefix(top) for path in wanted], ""
    if config.layout is None:
        paths, copy = without_copy(paths, lambda one, other: tree.equal(f"{top}{one}", f"{top}{other}"))
    folders = [f.removeprefix(top) for f in folders if f.startswith(top)]
    if copy:
        folders = [folder for folder in folders if folder.split("/", 1)[0] != copy]
    if not paths and tree.folders and tree.ignored and not tree.bad:
        have = choices(f"{n:,} {suffix}" for suffix, n in sorted(tree.ignored.items()))
        raise UserError(f"{tree.where} has no picture of a supported format, but {have}{tree.advice()}")
    try:
        images, template = arrange(config, paths, tree.where, tree.opening(top), folders)
        if config.layout is None:
            notes = (*notes, *_checked_beside(config, tree, top, images, beside))
        elif images.groups is None:
            notes = (*notes, *groups_note(tree.beside, top, _class_of(tree, top, images)))
        check_masks(images.ids, config.include, config.exclude, tree.where)
        if config.layout is None and config.classes is None:
            check_copied_names(images.classes, stem_of(template), tree.where)
            check_shared(images.ids, template, tree.where)
            check_same_names(images.ids, template, tree.where)
    except UnclearFoldersError as error:
        hint = boxes_hint(tree.beside.root, beside, wanted) or _hint(tree, top, paths, error)
        texts = [f"{note}; if it has the classes, {TABLE}" for note in sidecar_notes(beside) if error.ways]
        message = "; ".join([str(error.with_hint(hint)), *texts])
        raise UserError(_explained(config, tree, top, message, paths)) from None
    except UserError as error:
        raise UserError(_explained(config, tree, top, str(error), paths)) from None
    notes = (
        *notes,
        *sidecar_notes(beside),
        *([f"the class folders are read from {top[:-1]}, the only folder"] if top else []),
        *([COPY.format(copy)] if copy else []),
    )
    return replace(
        images,
        bad=(*tree.bad, *images.bad),
        ignored=dict(tree.ignored),
        notes=(*(_below(top, note) for note in images.notes), *notes),
    )


def _hint(tree: Tree, top: str, paths: Sequence[str], error: UnclearFoldersError) -> str:
    """Where the classes of pictures may be that are in no folder of a class, or in one that may be none."""
    if not paths:
        return tree.advice()
    table = table_hint(tree.beside, top, _full(tree, top, paths))
    if table or error.ways:
        return table
    return layout_hint(paths) or beside_hint(tree.beside, top, ()) or table_advice(paths)


def _explained(config: Options, tree: Tree, top: str, message: str, paths: Sequence[str]) -> str:
    """A message with layouts that fit below `top`, and with the first unusable file if there is no picture."""
    first = f"; {tree.bad[0].id}: {tree.bad[0].reason}" if tree.bad and not paths else ""
    return f"{message if config.layout else _below(top, message)}{first}"


def _full(tree: Tree, top: str, paths: Sequence[str]) -> list[str]:
    return [tree.full(f"{top}{path}") for path in paths]


def _class_of(tree: Tree, top: str, images: Listing) -> dict[str, str]:
    """The class of each picture by its path below the root."""
    paths = _full(tree, top, images.ids)
    return {path: images.classes[label] for path, label in zip(paths, images.labels.tolist(), strict=True)}


def _checked_beside(
    config: Options, tree: Tree, top: str, images: Listing, beside: Mapping[str, Counter[str]]
) -> tuple[str, ...]:
    """Notes of lists of a split beside the class folders; UserError if what lies beside has the classes or groups."""
    single = config.classes is None and len(images.classes) == 1
    if single:
        hint = inside_hint(images.ids, images.classes[0]) or boxes_hint(tree.beside.root, beside, images.ids)
        check_single(images.classes[0], tree.where, hint)
    class_of, aside = _class_of(tree, top, images), (*beside, *tree.more)
    divided = images.splits is not None
    check_labels_beside(tree.beside, top, class_of, aside, divided)
    if config.classes is None:
        check_tables_of_folders(tree.beside, files_beside(tree.beside.root, top, aside), class_of, tree.where)
    if single:
        hint = names_hint(images.ids) + beside_hint(tree.beside, top, aside)
        check_single(images.classes[0], tree.where, hint)
    if divided:
        check_labels_of_splits(tree.beside, files_beside(tree.beside.root, top, aside), images)
        return ()
    lists = files_beside(tree.beside.root, top, aside)
    check_numbered_lists(tree.beside, lists, list(class_of), tree.where)
    return split_list_notes(lists, images.ids)


def _around(layout: str, attributes: Sequence[str], paths: Sequence[str], folders: Sequence[str]) -> str:
    """Folders around all classes if a layout reads nothing from the whole paths, or only these folders; else "".

    A layout that a message proposes is that of the paths below them. UserError for one that reads other values there
    than from the whole paths.
    """
    top = shared_top(paths, folders, keep_splits=True)
    if not top:
        return ""
    parsed = Layout(layout, attributes)
    whole, inside = (
        {path: place for path in paths if (place := parsed.match(path[start:])) is not None} for start in (0, len(top))
    )
    if not whole:
        return top
    around = set(top[:-1].split("/"))
    if inside and any(set(values) <= around for values in zip(*((*p[:3], *p[3]) for p in whole.values()), strict=True)):
        return top
    if any(inside.get(path, place) != place for path, place in whole.items()):
        parts = layout.split("/")
        for at, folder in enumerate(top.split("/")[:-1]):
            parts[at] = folder if parts[at] == "*" else parts[at]
        raise UserError(
            f"the layout {layout!r} fits {min(inside)!r} with and without {top[:-1]!r}, the only folder around all: "
            f"set source.layout={top + layout!r} or source.layout={'/'.join(parts)!r}"
        )
    return ""


def _below(top: str, text: str) -> str:
    """A message with the layouts that it proposes for paths below `top` so that they fit nothing else."""
    return re.sub(r"(source\.layout=|layout: )'(?=\*)", lambda match: f"{match[0]}{top}", text)


def _without_emptied(folders: Sequence[str], before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The folders without those all of whose pictures were left out; they are no classes without pictures."""
    if len(before) == len(after):
        return list(folders)
    had, have = ({str(parent) for path in paths for parent in PurePosixPath(path).parents} for paths in (before, after))
    return [folder for folder in folders if folder in have or folder not in had]
