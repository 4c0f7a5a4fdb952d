"""Parquet files with images in a column, as Hugging Face's data sets are published; read in place, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augpipe.core.errors import UserError, choices, several, unknown
from augpipe.data.sources._groups import grouped
from augpipe.data.sources._listing import Bad, Classes, Listing, Meanings, Paths, Rows, Texts
from augpipe.data.sources._parquet_images import byte_columns, image_columns, image_paths, images_at, read_schema
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._shards import Shards, check_official, find_shards, only_shards, split_of_shards
from augpipe.data.sources._source import SourceConfig
from augpipe.data.sources._unlabelled import unlabelled_splits

if TYPE_CHECKING:  # it imports pandas, which the options do not need
    from augpipe.data.sources._parquet_parts import Columns, Part
    from augpipe.data.sources._several_labels import Labels
    from augpipe.data.sources._split_columns import OwnSplit

LABEL: Final = "label"
SUFFIX: Final = ".parquet"


class Config(SourceConfig):
    """Options of Parquet files with images."""

    kind: Literal["huggingface"]
    """Parquet files with a column of images and one of labels, as Hugging Face's data sets are published."""

    path: Paths
    """A folder of Parquet files such as `train-00000-of-00001.parquet`, or one file or several. The first word of their
    names, or a folder, is the split."""

    image: str | None = None
    """Column of images. null: the only one whose first values are pictures."""

    label: str | None = None
    """Column of labels. null: `label`, else the only one with class names."""

    group: str | None = None
    """Column of what must not be divided between train, val and test, such as the patient."""

    group_folder: int | None = Field(default=None, ge=0)
    """Number of the folder in the images' paths, from the left, that is the group: 1 for `patient7/1.png`. 0: none is,
    although folders are called so. null: none, and folders called so stop the run."""

    split: str | None = None
    """Column with train, val or test. null: `split` if there is one and the files' names say no split."""

    splits: Meanings
    """What values of it mean, such as `{0: train, 1: val, 2: test}`."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, in the set's order."""

    ignore: Texts = ()
    """Columns that are left unused although they look like groups or a split."""

    combined: Literal["drop", "class"] | None = None
    """Rows with several labels, in one cell such as `A|B` or a list: `drop` leaves them out, `class` reads each
    combination as a class. null: refuse them."""

    official: bool = True
    """Keep the set's own splits. false: merge them, for `split` to draw others."""

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        check_official(self)
        if self.group_folder and self.group is not None:
            raise ValueError("group_folder and group are mutually exclusive")
        return self


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it has no Parquet file with images."""
    files: Iterator[Path] = iter((path,)) if path.suffix.lower() == SUFFIX else iter(())
    if path.is_dir():
        files = chain.from_iterable(path.glob(f"{below}*{SUFFIX}") for below in ("", "*/", "*/*/"))
    for file in islice(files, 1):
        try:
            if file.is_file() and image_columns(file, read_schema(file)):
                return {"kind": "huggingface", "path": str(path)}
        except UserError:  # reported when it is listed, if it can be nothing else
            if path.is_dir() and only_shards(path, (SUFFIX,)):
                return {"kind": "huggingface", "path": str(path)}
    return None


def places(config: Config) -> tuple[Path, ...]:
    """The folders, which must never be written to."""
    return tuple(path for path in config.path if path.is_dir())


def check(config: Config) -> None:
    """UserError if a file is missing or lacks a column, or if only some files name a split."""
    from augpipe.data.sources._parquet_parts import require_columns

    shards, where = _shards(config), _where(config)
    schemas = [read_schema(path) for path in shards.paths]
    columns = _columns(config, schemas[0], shards.paths[0])
    for path, schema in zip(shards.paths, schemas, strict=True):
        require_columns(path, schema, columns)
    if config.official:
        split_of_shards(shards, where)


def listing(config: Config) -> Listing:
    """List every row of every file; UserError if a file is broken or a column is missing."""
    # Imported here because they import pandas, which the options do not need.
    from augpipe.data.sources._parquet_parts import known_names, read_part
    from augpipe.data.sources._several_labels import classified

    shards, where = _shards(config), _where(config)
    columns = _columns(config, read_schema(shards.paths[0]), shards.paths[0])
    splits = split_of_shards(shards, where) if config.official else []
    parts = [read_part(path, name, columns) for path, name in zip(shards.paths, shards.names, strict=True)]
    sizes = [part.table.num_rows for part in parts]
    ids = np.array([f"{p.id}/{row:06d}" for p in parts for row in range(p.table.num_rows)], object)
    if not sum(sizes):
        raise UserError(f"{where} has no rows")
    by_file = np.repeat(np.array(splits, object), sizes) if splits else None
    split = _split(config, parts, columns, by_file)
    single = _single_labels(parts, columns, config, where, split.values)
    groups, notes = _groups(config, parts, columns, ids)
    columns = columns._replace(split=split.column)
    unused = _check_unused(config, parts, columns, single.names, groups)
    labels, classes, left_out = classified(
        single,
        config.classes or known_names(parts, single) or None,
        where=where,
        column=f"column {columns.label!r}",
        what="row",
    )
    retained = split.retained(labels)
    return Listing(
        ids=ids[retained].tolist(),
        labels=labels[retained],
        classes=classes,
        fetch=_fetching(shards.paths, sizes, columns.image, retained),
        groups=groups if groups is None else groups[retained],
        splits=split.at(retained),
        bad=(
            *(
                Bad(str(ids[row]), "no label", split="" if split.values is None else str(split.values[row]))
                for row in np.flatnonzero(single.names == "")
            ),
            *split.bad(ids, labels, classes),
        ),
        lost=tuple(shards.lost),
        ignored=dict(shards.ignored),
        notes=(*shards.notes, *unused, *split.notes, *notes, *left_out),
    )


def _shards(config: Config) -> Shards:
    return find_shards(config.path, (SUFFIX,))


def _where(config: Config) -> str:
    return f"the data set {choices(config.path)}"


def _single_labels(
    parts: Sequence[Part], columns: Columns, config: Config, where: str, splits: NDArray[np.object_] | None
) -> Labels:
    """Label of each row, "" in a split without labels, and rows with several that are left out;
    UserError if the config does not say what to do with them.
    """
    from augpipe.data.sources._parquet_parts import check_minus_one, labels_of
    from augpipe.data.sources._several_labels import single_labels

    values, combined = labels_of(parts, columns.label)
    if config.classes is None:
        values[unlabelled_splits(values, splits)] = ""
        check_minus_one(values, where)
    return single_labels(
        values,
        config.combined,
        where=where,
        column=f"column {columns.label!r}",
        decided=config.classes is not None,
        known=combined,
    )


def _columns(config: Config, schema: Any, path: Path) -> Columns:
    from augpipe.data.sources._parquet_parts import Columns, class_names, fields_of

    candidates = byte_columns(schema)
    # An image column that the user names needs no picture in its first rows.
    images = [] if config.image in candidates else image_columns(path, schema)
    others = [name for name in fields_of(schema) if name not in images and name != config.image]
    if config.image is None and len(images) != 1:
        raise UserError(
            f"{path} has {several(len(images), 'column')} of images: set source.image; it has "
            f"{choices(images or candidates or others)}"
        )
    image = config.image or images[0]
    if image not in candidates:
        raise unknown(f"column of images in {path}", image, images or candidates)
    named = [name for name in others if class_names(schema, name)]
    label = config.label or (named[0] if LABEL not in others and len(named) == 1 else LABEL)
    if config.label is None and label not in others:
        raise UserError(f"{path} has no column {LABEL!r}: set source.label; it has {choices(others)}")
    for what, name in (("label", label), ("group", config.group), ("split", config.split)):
        if name == image:
            raise UserError(f"source.{what} is {name!r}, the column of images in {path}; choose from {choices(others)}")
        if name is not None and name not in others:
            raise unknown(f"column in source.{what} of {path}", name, others)
    if label == config.group:
        raise UserError(f"source.group is {label!r}, the column of labels: every class would be one group")
    if config.split is not None and config.split in (label, config.group):
        raise UserError(f"source.split is {config.split!r}, the column of labels or groups")
    return Columns(image, label, config.group, config.split)


def _split(config: Config, parts: Sequence[Part], columns: Columns, by_file: NDArray[np.object_] | None) -> OwnSplit:
    """The split of each row, and its column."""
    from augpipe.data.sources._parquet_parts import split_columns
    from augpipe.data.sources._split_columns import OwnSplit, own_split

    if not config.official:
        return OwnSplit(None)
    return own_split(split_columns(parts, columns), by_file, config, _where(config), "column")


def _groups(
    config: Config, parts: Sequence[Part], columns: Columns, ids: NDArray[np.object_]
) -> tuple[NDArray[np.object_] | None, tuple[str, ...]]:
    """Group of each row, or None, and a note of those without;
    UserError for groups in the images' paths that are not used.
    """
    from augpipe.data.sources._parquet_parts import text
    from augpipe.data.sources._unused import check_folders, groups_of_folders

    where = _where(config)
    if columns.group is not None:
        return grouped(text(parts, columns.group), ids, f"source.group={columns.group}", where)
    if config.group_folder == 0:
        return None, ()
    paths = image_paths([part.path for part in parts], columns.image)
    if config.group_folder is not None:
        groups = groups_of_folders(paths, config.group_folder, where)
        return grouped(groups, ids, f"source.group_folder={config.group_folder}", where)
    check_folders(paths, where)
    return None, ()


def _check_unused(
    config: Config, parts: Sequence[Part], columns: Columns, names: NDArray[Any], groups: NDArray[np.object_] | None
) -> tuple[str, ...]:
    """A note of unused columns; UserError if there are no groups and a column looks like groups."""
    from augpipe.data.sources._parquet_parts import as_groups, unused_columns
    from augpipe.data.sources._unused import check_unused, is_group_name

    where = _where(config)
    unused = {
        name: as_groups(parts, name) if name not in config.ignore and (groups is None or is_group_name(name)) else None
        for name in unused_columns(parts, columns)
    }
    notes = check_unused(
        unused, names, where=where, what="column", groups=groups, ignored=config.ignore, key="source.group"
    )
    wider = [note for note in notes if not note.startswith("not used")]
    return (*((f"not used in {where}: {choices(unused)}",) if unused else ()), *wider)


def _fetching(
    paths: Sequence[Path], sizes: Sequence[int], column: str, retained: Rows
) -> Callable[[Rows], Iterator[Blob]]:
    """Function of ascending rows of `retained` that reads their images, in the order of the files.

    sizes: rows of each file. It holds no table, whose text may be large.
    """

    def fetch(requested: Rows) -> Iterator[Blob]:
        rows, start = retained[requested], 0
        for path, size in zip(paths, sizes, strict=True):
            inside = rows[(rows >= start) & (rows < start + size)] - start
            if len(inside):
                yield from images_at(path, column, inside)
            start += size

    return fetch
