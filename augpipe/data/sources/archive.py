"""A zip or tar of class folders, read in place: nothing is unpacked, so no path can escape the target folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from augpipe.core.errors import UserError, several
from augpipe.data.sources._archive_contents import Contents, Member, fetch_members, list_archive
from augpipe.data.sources._archive_files import TARS, ZIPS, require_archive
from augpipe.data.sources._archive_splits import split_note, splits_of_names
from augpipe.data.sources._archive_texts import texts_beside
from augpipe.data.sources._class_folders import Tree, list_tree
from augpipe.data.sources._foreign import advice_of
from augpipe.data.sources._layout import SPLIT_NOTE, shared_top
from augpipe.data.sources._listing import (
    Attributes,
    Classes,
    Encoding,
    Fetch,
    Listing,
    Paths,
    Rows,
    Texts,
    without_labels,
)
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._place import Beside
from augpipe.data.sources._source import SourceConfig
from augpipe.data.sources._template import Template

GENERAL: Final = True
# Bytes of all archives inside the archives together: this, or RATIO times the size of the archives if that is more.
INNER: Final = 2**33
RATIO: Final = 4


class Config(SourceConfig):
    """Options of archives."""

    kind: Literal["archive"]
    """A zip or tar of class folders, read in place."""

    path: Paths
    """One archive or several, whose class folders are merged; `train.zip` and `test.zip` are the split. Zips and tars
    inside are opened, and are the split too if they are called so; a folder around everything is skipped."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    include: Texts = ()
    """Read only pictures whose path matches one of these patterns, such as `scans/*`; `*` also matches `/`."""

    exclude: Texts = ()
    """Leave out pictures whose path matches one of these patterns, such as `*_mask.png` or `test/*`;
    `*` also matches `/`.
    """

    encoding: Encoding = None
    """Encoding of file names in the archive that are not marked as UTF-8, such as `gbk` or `shift_jis`. null: UTF-8
    where they are, else cp437, with a note."""

    attributes: Attributes = ()
    """Fields of `layout` by whose values the test images are scored too,
    such as `[scanner]` of `{label}/{scanner}/*`.
    """

    layout: Template | None = None
    """Where class, group and split are in a picture's path, such as `{label}/{group}/*`. null: the first folder is the
    class, or the split if the first folders are called train, val and test."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it is not an archive."""
    matches = path.is_file() and path.name.lower().endswith((*ZIPS, *TARS))
    return {"kind": "archive", "path": str(path)} if matches else None


def check(config: Config) -> None:
    """UserError if an archive does not exist."""
    for path in config.path:
        require_archive(path)


def listing(config: Config) -> Listing:
    """List every picture of every archive; UserError if an archive cannot be opened."""
    contents, by_name = _contents(config)
    members, where = contents.members, _where(config)
    if not members:
        _refuse_unusable(contents, where)

    def opening(top: str) -> Callable[[Sequence[str]], Fetch]:
        return lambda ids: partial(_fetch, config.path, [members[f"{top}{path}"] for path in ids])

    def equal(one: str, other: str) -> bool:
        return members[one].sum is not None and members[one].sum == members[other].sum

    with texts_beside(config.path, contents) as root:
        tree = Tree(
            where=where,
            beside=Beside(root, where),
            pictures=tuple(members),
            folders=sorted(contents.folders),
            bad=contents.bad,
            ignored=contents.ignored,
            opening=opening,
            equal=equal,
            advice=lambda: advice_of(path.rpartition("/")[2] for path in sorted(contents.others)),
            full=contents.packed_path,
            more=[f"{split}/{top}" for split, top in contents.tops.items() if top],
        )
        pictures = list_tree(config, tree)
    notes = [note for note in pictures.notes if not (contents.tops and note == SPLIT_NOTE)]
    if by_name:
        notes.append(split_note(config.path))
    return replace(pictures, lost=tuple(contents.lost), notes=(*notes, *_notes_of(contents)))


def pictures(config: Config) -> Listing:
    """Every picture of the archives, for predictions, whatever the folders are called."""
    contents, _ = _contents(config)
    if not contents.members:
        _refuse_unusable(contents, _where(config))
    members, top = list(contents.members.values()), shared_top(tuple(contents.members))
    ids = [path.removeprefix(top) for path in contents.members]
    fetch = partial(_fetch, config.path, members)
    return without_labels(ids, fetch, tuple(contents.bad))


def _fetch(archives: Sequence[Path], members: Sequence[Member], rows: Rows) -> Iterator[Blob]:
    return fetch_members(archives, [members[row] for row in rows])


def _where(config: Config) -> str:
    return " and ".join(f"the archive {path}" for path in config.path)


def _contents(config: Config) -> tuple[Contents, bool]:
    """What is in the archives, and whether their names are the split."""
    packed = sum(path.stat().st_size for path in config.path if path.is_file())
    contents = Contents(max(INNER, RATIO * packed), by_name=config.layout is None, only_one=len(config.path) == 1)
    splits = splits_of_names(config.path) if config.layout is None else [""] * len(config.path)
    for index, (archive, split) in enumerate(zip(config.path, splits, strict=True)):
        contents.split = split
        list_archive(index, archive, contents, config.encoding)
    return contents, bool(splits[0])


def _refuse_unusable(contents: Contents, where: str) -> None:
    """UserError with the reason of the first file, if there are any: no picture can be used."""
    if contents.lost:
        raise UserError(f"cannot read {contents.lost[0]}")
    if contents.bad:
        first = contents.bad[0]
        raise UserError(f"{where} has no usable picture; the first, {first.id}: {first.reason}")


def _notes_of(contents: Contents) -> Iterator[str]:
    if contents.split_names:
        yield split_note(contents.split_names, " inside the archive")
    if contents.repeated:
        yield f"{several(contents.repeated, 'picture')} packed into several archives, taken once"
    if contents.guessed:
        yield (
            f"{several(len(contents.guessed), 'file name')} of unknown encoding read as cp437, such as "
            f"{contents.guessed[0]!r}; set source.encoding, such as gbk or shift_jis, if they look wrong"
        )
