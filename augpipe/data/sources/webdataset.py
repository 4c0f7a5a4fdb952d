"""WebDataset: tar files with a picture and its label under one key, `7.jpg` and `7.cls` or `7.json`; read in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from augpipe.core.errors import PictureError, UserError, cause, choices, unknown
from augpipe.data.sources._archive_files import BROKEN, TARS, open_archive
from augpipe.data.sources._group_paths import names_note
from augpipe.data.sources._listing import Bad, Classes, Listing, Meanings, Paths, Rows, Texts
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._sample_columns import check_unused, groups_of, split_of
from augpipe.data.sources._shard_contents import Contents, Wanted
from augpipe.data.sources._shards import Shards, check_official, find_shards, only_shards, split_of_shards
from augpipe.data.sources._source import SourceConfig
from augpipe.data.sources._tar_samples import (
    ARRAYS,
    CLS,
    LOOKED_AT,
    NO_ARRAYS,
    are_samples,
    few,
    perhaps_samples,
    read_samples,
)

if TYPE_CHECKING:  # it imports pandas, which the options do not need
    from augpipe.data.sources._several_labels import Labels
    from augpipe.data.sources._split_columns import OwnSplit

MOST: Final = 1000  # files of a folder that are looked at
TO_JSON: Final = "write them into the .json files, and set source.group"


def _extension(text: str | None) -> str | None:
    return text if text is None else text.lower().lstrip(".")


class Config(SourceConfig):
    """Options of WebDataset's shards."""

    kind: Literal["webdataset"]
    """Tar files of samples: the files of one key are a picture and its label."""

    path: Paths
    """A folder of tar files such as `train-0000.tar`, or one file or several. The first word of their names, or a
    folder, is the split."""

    image: Annotated[str | None, AfterValidator(_extension)] = None
    """Extension of a key's picture, such as `png` or `mask.png`. null: the only one without a further dot (`0.png`
    beside `0.mask.png`), else the only one."""

    label: str = "cls"
    """`cls`: the content of the key's .cls file;
    or a key of its .json file, or the extension of another file, such as `txt`.
    """

    group: str | None = None
    """Key of the .json file, or extension of a file of one value such as `7.patient`, for what must not be divided
    between train, val and test, such as the patient."""

    group_folder: int | None = Field(default=None, ge=0)
    """Number of the folder in a picture's id, from the left, that is the group: 2 for the patient of
    `train-0/patient7/1`, as the name of the tar comes first. 0: none is, although folders are called so. null: none,
    and folders called so stop the run."""

    split: str | None = None
    """Key of the .json file, or extension, with train, val or test.
    null: `split` if there is one and the files' names say no split.
    """

    splits: Meanings
    """What values of it mean, such as `{0: train, 1: val, 2: test}`."""

    names: Classes = None
    """Class names of the labels 0, 1, ... null: the labels themselves."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    ignore: Texts = ()
    """Keys of the .json files, and extensions such as `patient`,
    that are left unused although they look like groups or a split.
    """

    combined: Literal["drop", "class"] | None = None
    """Pictures with several labels, such as `A|B` or a list in the .json file: `drop` leaves them out, `class` reads
    each combination as a class. null: refuse them."""

    official: bool = True
    """Keep the splits that the files' names or a key say. false: merge them, for `split` to draw others."""

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        check_official(self)
        if self.group_folder and self.group is not None:
            raise ValueError("group_folder and group are mutually exclusive")
        return self


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a tar, or a folder of them, whose first files are a picture and a label of one key; else None."""
    tars = _first_tars(path) if path.is_dir() else [path]
    if not tars or not tars[0].is_file() or not tars[0].name.lower().endswith(TARS):
        return None
    # The last, too: the first may be those of a test without labels.
    for tar in dict.fromkeys((tars[0], tars[-1])):
        try:
            with open_archive(tar) as shard:
                names = [name for name, _, _ in islice(shard.names(), LOOKED_AT)]
        except (UserError, *BROKEN):  # reported when it is listed, if it can be nothing else
            only = path.is_dir() and only_shards(path, TARS)
            return {"kind": "webdataset", "path": str(path)} if only else None
        if are_samples(names) or perhaps_samples(names):
            return {"kind": "webdataset", "path": str(path)}
    return None


def _first_tars(folder: Path) -> list[Path]:
    """Tars of a folder, or else of the folders in it, as `train/0000.tar`, sorted."""
    for below in ("", "*/"):
        names = islice(folder.glob(f"{below}*.t*"), MOST)
        if tars := sorted(path for path in names if path.name.lower().endswith(TARS)):
            return tars
    return []


def places(config: Config) -> tuple[Path, ...]:
    """The folders, which must never be written to."""
    return tuple(path for path in config.path if path.is_dir())


def check(config: Config) -> None:
    """UserError if a file is missing, if only some files name a split, or if label and group are one key."""
    if config.label == config.group:
        raise UserError(f"source.group is {config.group!r}, the key of labels: every class would be one group")
    shards = find_shards(config.path, TARS)
    if config.official:
        split_of_shards(shards, _where(config))


def listing(config: Config) -> Listing:
    """List the picture of every key of every shard; UserError if a shard is broken or no key has a label."""
    from augpipe.data.sources._several_labels import classified  # imported late: it imports pandas

    check(config)
    shards, where = find_shards(config.path, TARS), _where(config)
    by_shard = split_of_shards(shards, where) if config.official else []
    contents = _read(shards, config, where, by_shard)
    ids = np.array(contents.ids, object)
    groups, notes = groups_of(contents, ids, config, where)
    unfit = contents.of_another_kind(config.image)
    single = _single_labels(contents, unfit, config, where)
    split = split_of(contents, by_shard, config, where)
    unused = check_unused(contents, single.names, config, where, split.column)
    if groups is None:
        notes = names_note(contents.ids, single.names.tolist(), advice=TO_JSON)
    labels, classes, left_out = classified(single, config.classes, where=where, column=_column(config), what="picture")
    retained = split.retained(labels)
    return Listing(
        ids=ids[retained].tolist(),
        labels=labels[retained],
        classes=classes,
        fetch=lambda rows: _fetch(shards.paths, contents, retained[rows]),
        groups=groups if groups is None else groups[retained],
        splits=split.at(retained),
        bad=(*contents.bad, *_unusable(contents, unfit, single.names, split), *split.bad(ids, labels, classes)),
        lost=tuple(shards.lost),
        ignored=dict(contents.ignored),
        notes=(*shards.notes, *notes, *unused, *split.notes, *contents.pictures_note(where), *left_out),
    )


def _where(config: Config) -> str:
    return f"the data set {choices(config.path)}"


def _column(config: Config) -> str:
    return ".cls files" if config.label == CLS else f"key {config.label!r}"


def _read(shards: Shards, config: Config, where: str, by_shard: Sequence[str]) -> Contents:
    """Read all shards without their pictures; UserError if none can be used. by_shard: split of each, empty without."""
    if config.image in ARRAYS:
        raise UserError(f"source.image of {where} is {config.image!r}: {NO_ARRAYS}")
    contents = Contents(ignored=shards.ignored, splits=by_shard)
    wanted = Wanted(config.image, config.label, config.group)
    for index, (path, name) in enumerate(zip(shards.paths, shards.names, strict=True)):
        names = (config.label, config.group, config.split, *config.ignore)
        for key, sample in read_samples(path, contents.ignored, config.image, names).items():
            contents.add((index, f"{name}/{key}"), sample, wanted)
    if config.image is not None and config.image not in contents.pictures:
        raise unknown(f"extension in source.image of {where}", config.image, contents.pictures)
    if not contents.pictures and (arrays := [a for a in ARRAYS if f".{a}" in contents.ignored]):
        raise UserError(f"{where} has no pictures but .{min(arrays)} files: {NO_ARRAYS}")
    if not contents.pictures:
        raise UserError(
            f"{where} has no file with the suffix of a picture, and others: {few(contents.ignored)}; set source.image "
            "to the extension of the pictures"
        )
    known = {CLS: None} | contents.json_keys
    if contents.json_keys and config.label not in known:
        raise unknown(f"key of the .json files in source.label of {where}", config.label, known)
    if not contents.ids:
        bad = contents.bad[:1]
        first = f"; the first, {bad[0].id}: {bad[0].reason}" if bad else ""
        raise UserError(f"{where} has no picture with a label{first}")
    contents.check_ids(shards.paths)
    return contents


def _single_labels(contents: Contents, unfit: NDArray[np.bool_], config: Config, where: str) -> Labels:
    """Class name of each picture, "" of unfit ones, and those with several that are left out.

    UserError if the config does not say what to do with several, or if a label has no name in `names`.
    """
    from augpipe.data.sources._several_labels import Labels, single_labels

    names, dropped = single_labels(
        np.where(unfit, "", np.array(contents.labels, object)),
        config.combined,
        where=where,
        column=_column(config),
        decided=config.classes is not None and config.names is None,
    )
    names[~dropped] = _named(names[~dropped], config, where)
    return Labels(names, dropped)


def _unusable(
    contents: Contents, unfit: NDArray[np.bool_], names: NDArray[np.object_], split: OwnSplit
) -> Iterator[Bad]:
    """Pictures of another kind than the others', and those without a label."""
    for row in np.flatnonzero(names == ""):
        extension = contents.extensions[row]
        reason = f"a key with .{extension} only, and other keys have a picture without a further dot: set source.image"
        of_split = "" if split.values is None or unfit[row] else str(split.values[row])
        yield Bad(contents.ids[row], reason if unfit[row] else "no label", contents.labels[row], of_split)


def _named(labels: NDArray[np.object_], config: Config, where: str) -> NDArray[np.object_]:
    """Class names of the labels 0, 1, ...; UserError for a label that has none."""
    if config.names is None:
        return labels
    names = {str(number): name for number, name in enumerate(config.names)} | {"": ""}
    for label in dict.fromkeys(labels):
        parts = label.split("|") if config.combined == "class" else [label]
        for part in parts:
            if part not in names:
                raise UserError(
                    f"source.names has {len(config.names)} names for the labels 0 to {len(config.names) - 1}; {where} "
                    f"has {part!r}"
                )
        names[label] = "|".join(sorted(names[part] for part in parts))
    used = {part for label in labels for part in label.split("|")}
    unused = [number for number in range(len(config.names)) if str(number) not in used]
    # Without a selection of classes, each name is a class; only combined labels may be left out as a whole.
    if unused and config.classes is None and config.combined is None:
        raise UserError(
            f"source.names has {len(config.names)} names, but no picture of {where} has the label {unused[0]} "
            f"({config.names[unused[0]]!r})"
        )
    return np.array([names[label] for label in labels], object)


def _fetch(paths: Sequence[Path], contents: Contents, rows: Rows) -> Iterator[Blob]:
    """Bytes of the pictures at ascending rows; each shard is opened once."""
    shards = np.array(contents.shards, np.int64)[rows]
    for index in dict.fromkeys(shards.tolist()):
        keys = [contents.keys[row] for row in rows[shards == index]]
        n_done = 0
        try:
            with open_archive(paths[index]) as shard:
                for key in keys:
                    yield shard.read(key)
                    n_done += 1
        except BROKEN as error:
            yield from [PictureError(cause(error))] * (len(keys) - n_done)
