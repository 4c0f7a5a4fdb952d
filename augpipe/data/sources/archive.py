"""A zip or tar of class folders, read in place: nothing is unpacked, so no path can escape the target folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from augpipe.core.errors import UserError, several
from augpipe.data.sources._archive_contents import Contents, Member, fetch_members, list_archive
from augpipe.data.sources._archive_files import TARS, ZIPS, require_archive
from augpipe.data.sources._archive_splits import split_note, splits_of_names
from augpipe.data.sources._files import masks_note, without
from augpipe.data.sources._foreign import advice_of
from augpipe.data.sources._labels_beside import check_archive_tables
from augpipe.data.sources._layout import COPY, SPLIT_NOTE, NoClassError, Template, arrange, shared_top, without_copy
from augpipe.data.sources._listing import Attributes, Classes, Encoding, Fetch, Listing, Paths, Texts
from augpipe.data.sources._source import SourceConfig

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
    where = " and ".join(f"the archive {path}" for path in config.path)
    wanted, left_out = without(tuple(contents.members), config.exclude, where)
    shared = shared_top(wanted, keep_splits=config.layout is not None)
    members = {path.removeprefix(shared): contents.members[path] for path in wanted}
    if not members:
        _refuse_unusable(contents, where)
    paths, copy = list(members), ""
    if config.layout is None:
        paths, copy = without_copy(paths, lambda a, b: members[a].sum is not None and members[a].sum == members[b].sum)

    def opening(ids: Sequence[str]) -> Fetch:
        return lambda rows: fetch_members(config.path, [members[ids[row]] for row in rows])

    try:
        pictures = arrange(paths, config.layout, config.classes, where, opening, attributes=config.attributes)
    except NoClassError as error:
        raise UserError(f"{error}{advice_of(contents.ignored) if not paths else ''}") from None
    if config.layout is None and contents.tables:
        _check_tables(config.path, contents, pictures, shared, where)
    return replace(
        pictures,
        bad=(*contents.bad, *pictures.bad),
        lost=tuple(contents.lost),
        ignored=dict(contents.ignored),
        notes=(
            *(note for note in pictures.notes if not (contents.tops and note == SPLIT_NOTE)),
            *([split_note(config.path)] if by_name else []),
            *_notes_of(contents, left_out),
            *masks_note(pictures.ids),
            *([COPY.format(copy)] if copy else []),
        ),
    )


def _contents(config: Config) -> tuple[Contents, bool]:
    """What is in the archives, and whether their names are the split."""
    packed = sum(path.stat().st_size for path in config.path if path.is_file())
    contents = Contents(max(INNER, RATIO * packed), by_name=config.layout is None)
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


def _notes_of(contents: Contents, left_out: Sequence[str]) -> Iterator[str]:
    if contents.split_names:
        yield split_note(contents.split_names, " inside the archive")
    yield from left_out
    if contents.repeated:
        yield f"{several(contents.repeated, 'picture')} packed into several archives, taken once"
    if contents.guessed:
        yield (
            f"{several(len(contents.guessed), 'file name')} of unknown encoding read as cp437, such as "
            f"{contents.guessed[0]!r}; set source.encoding, such as gbk or shift_jis, if they look wrong"
        )


def _check_tables(archives: Sequence[Path], contents: Contents, pictures: Listing, shared: str, where: str) -> None:
    """UserError if a table in the archives has other labels than the folders of the pictures that it names."""

    def reading(member: Member) -> Callable[[], bytes]:
        def read() -> bytes:
            blob = next(fetch_members(archives, [member]))
            return blob if isinstance(blob, bytes) else b""

        return read

    of_picture = {
        contents.packed_path(f"{shared}{path}"): pictures.classes[label]
        for path, label in zip(pictures.ids, pictures.labels, strict=True)
    }
    tables = {path: reading(member) for path, member in contents.tables.items()}
    check_archive_tables(tables, of_picture, where, pictures.splits is not None)
