"""Arrays: an .npz in MedMNIST's form or with `images` and `labels`, or a pair of .npy files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augpipe.core.errors import UserError, choices, unknown
from augpipe.data.sources._array_columns import groups_of, others_of, require_in_all, splits_of, weights_of
from augpipe.data.sources._array_labels import class_names, classes_of, left_out_note
from augpipe.data.sources._array_names import RENAME, Names, form_of_file
from augpipe.data.sources._array_parts import Part, check_lengths, unused_note
from augpipe.data.sources._array_text import read
from augpipe.data.sources._groups import plain_groups
from augpipe.data.sources._listing import Attributes, Classes, Listing, Texts, WholePath, only, without_labels
from augpipe.data.sources._npy import BROKEN, Images, fetching, unreadable, values_of
from augpipe.data.sources._source import SourceConfig
from augpipe.data.sources._unlabelled import unlabelled_note, unlabelled_notes, unlabelled_splits

GROUPS: Final = "groups"


class Config(SourceConfig):
    """Options of arrays: (N,H,W), (N,H,W,C) or (N,C,H,W).

    Floats lie in 0 to 1 or in 0 to 255 and integers in 0 to 255, or `image.window` is set.
    """

    kind: Literal["arrays"]
    """An .npz, or an .npy of images with one of labels."""

    path: WholePath
    """An .npz with `images` and `labels` (optionally `groups`, `weights`, `class_names`), or with `train_images`,
    `train_labels` and so on for train, val and test; or an .npy of images. An array `split` holds train, val or test of
    each image. Other usual names are read too: `x_train` and `y_train`, `x` and `y`, `data` and `target`."""

    labels: WholePath | None = None
    """The .npy of labels for an .npy of images."""

    classes: Classes = None
    """Use only these classes, in this order; `["0", "1"]` leaves images with the label -1 out. null: all, sorted."""

    names: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Class names of the labels 0, 1, ... null: the file's `class_names`, or the labels themselves."""

    groups: str = GROUPS
    """Name of the array of groups, such as patients, without train_, val_ or test_."""

    attributes: Attributes = ()
    """Names of arrays of an .npz, without train_, val_ or test_, by whose values the test images are scored too."""

    ignore: Texts = ()
    """Arrays that are left unused although they look like groups or a split."""

    official: bool = True
    """Keep the file's own splits. false: merge them, for `split` to draw others."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it is neither an .npz nor an .npy."""
    matches = path.suffix.lower() in (".npz", ".npy")
    return {"kind": "arrays", "path": str(path)} if matches else None


def check(config: Config) -> None:
    """UserError if a file does not exist, or if a setting is not one of this kind of file."""
    _check_settings(config)
    for path in (config.path, config.labels):
        if path is not None and not path.is_file():
            raise UserError(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}")


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _check_settings(config: Config) -> None:
    """UserError if an .npy has no array of labels, or for a setting that would be ignored."""
    if _is_npz(config.path):
        if config.labels is not None:
            raise UserError(
                f"source.labels={config.labels} is the array of labels for an .npy of images; {config.path} is an "
                ".npz, whose labels are one of its own arrays: leave source.labels out, or save other labels in the "
                ".npz"
            )
        return
    if config.labels is None:
        raise UserError(
            f"{config.path} is an array of images: set the array of their labels, such as --set "
            "source.labels=labels.npy"
        )
    if config.attributes:
        raise UserError(
            f"source.attributes names arrays of an .npz, and {config.path} is an .npy: save images, labels and "
            f"{choices(config.attributes)} in an .npz"
        )
    if config.groups != GROUPS:
        raise UserError(
            f"source.groups={config.groups} names an array of an .npz, and {config.path} is an .npy: save images, "
            f"labels and groups in an .npz, np.savez(path, images=..., labels=..., {config.groups}=...)"
        )


def listing(config: Config) -> Listing:
    """List every image of every array; UserError if the file is broken or has another structure."""
    try:
        return _listing(config)
    except UserError:
        raise
    except BROKEN as error:
        raise unreadable(config.path, error) from None


def _listing(config: Config) -> Listing:
    _check_settings(config)
    parts, notes = _npz(config) if _is_npz(config.path) else ([_pair(config)], ())
    labels = np.concatenate([part.labels for part in parts])
    given = config.names is not None or not _is_npz(config.path)
    names, note = (config.names, "") if given else class_names(config.path, labels)
    splits = _splits(parts, config)
    aside = unlabelled_splits(labels, splits) if config.classes is None else np.zeros(len(labels), bool)
    codes = np.full(len(labels), -1, np.int64)
    codes[~aside], classes = classes_of(labels[~aside], names, config.classes, config.path)
    split = splits is not None and not parts[0].name
    unused = unused_note(parts, codes, config.path, config.ignore, split)
    fetch, windows = fetching([part.images for part in parts], [part.name for part in parts])
    ids = [f"{part.name or 'images'}/{row:06d}" for part in parts for row in range(part.images.n)]
    groups, ungrouped = groups_of(
        [part.groups for part in parts], np.array(ids, object), f"source.groups={config.groups}", config.path
    )
    images = Listing(
        ids=ids,
        labels=codes,
        classes=classes,
        fetch=fetch,
        splits=splits,
        groups=groups,
        weights=weights_of([part.weights for part in parts], config.path),
        attributes={
            name: np.concatenate([plain_groups(part.attributes[name]) for part in parts]) for name in config.attributes
        },
        notes=(
            *notes,
            *unused,
            *ungrouped,
            *left_out_note(codes[~aside]),
            *unlabelled_notes(labels, splits, aside),
            *([note] if note else []),
            *windows,
        ),
    )
    return only(images, codes >= 0)


def pictures(config: Config) -> Listing:
    """The images of an .npz or .npy, for predictions; UserError if the file is broken or has another structure."""
    path, arrays = config.path, dict[str, Images]()
    try:
        if _is_npz(path):
            names, splits, _ = form_of_file(path, needs_train=False)
            for split in splits:
                name = names.of(split, "images")
                arrays[split or "images"] = Images(path, f"{name}.npy", f"{name} of {path}")
        else:
            arrays["images"] = Images(path, None, str(path))
    except UserError:
        raise
    except BROKEN as error:
        raise unreadable(path, error) from None
    fetch, _ = fetching(list(arrays.values()), list(arrays))
    ids = [f"{name}/{row:06d}" for name, array in arrays.items() for row in range(array.n)]
    return without_labels(ids, fetch)


def _splits(parts: Sequence[Part], config: Config) -> NDArray[np.object_] | None:
    """The file's own split of each image; None without one, or if it is not official."""
    if not config.official:
        return None
    if parts[0].name:
        return np.array([part.name for part in parts for _ in range(part.images.n)], object)
    (part,) = parts
    return splits_of(part.others, part.images.n, config.ignore, config.path)


def _npz(config: Config) -> tuple[list[Part], tuple[str, ...]]:
    """Read the parts of an .npz, and a note of unusual names; UserError for other array names or unequal lengths."""
    path = config.path
    names, splits, have = form_of_file(path)
    aside = [split for split in splits if split in ("val", "test") and _is_unlabelled(names, split, have)]
    parts = [_part(config, names, split, have) for split in splits if split not in aside]
    if config.groups != GROUPS and all(part.groups is None for part in parts):
        wanted = names.of(splits[0], config.groups)
        raise unknown(f"array in source.groups of {path}", wanted, have)
    for what, columns, absent in (
        (config.groups, [part.groups for part in parts], ' ("" for an image without one)'),
        ("weights", [part.weights for part in parts], ""),
    ):
        require_in_all(what, [names.of(part.name, what) for part in parts], columns, path, absent)
    images = {split: names.of(split, "images") for split in aside}
    notes = [unlabelled_note(split, Images(path, f"{name}.npy", name).n) for split, name in images.items()]
    return parts, (*names.note(), *notes)


def _is_unlabelled(names: Names, split: str, have: Sequence[str]) -> bool:
    """Whether a split has images and no other array, which might hold their labels under another name."""
    return {name for name in have if names.inner(split, name)} == {names.of(split, "images")}


def _part(config: Config, names: Names, split: str, have: Sequence[str]) -> Part:
    path = config.path

    def column(what: str) -> NDArray[Any] | None:
        name = names.of(split, what)
        array, _, field = name.rpartition(".")  # of a structured one: `meta.patient`
        if what in config.ignore or not {name, array} & set(have):
            return None
        if name in have:
            return read(path, name, one_hot=what == "labels")
        values = read(path, array)
        return values[field] if field in (values.dtype.names or ()) else None

    name = names.of(split, "images")
    images = Images(path, f"{name}.npy", f"{name} of {path}")
    labels = column("labels")
    if labels is None:
        hint = f": {RENAME}" if not split and len(have) > 1 else ""
        raise UserError(f"{path} has no {names.of(split, 'labels')}; it has {choices(have)}{hint}")
    part = Part(
        split,
        images,
        labels,
        column(config.groups),
        column("weights"),
        others_of(path, names, split, have, config),
        {name: _attribute(column(name), names.of(split, name), path, have) for name in config.attributes},
    )
    check_lengths(part, f"of {path}", names)
    return part


def _attribute(values: NDArray[Any] | None, name: str, path: Path, have: Sequence[str]) -> NDArray[Any]:
    if values is None:
        raise unknown(f"array in source.attributes of {path}", name, have)
    return values


def _pair(config: Config) -> Part:
    path = config.labels or config.path  # set, as checked before
    for file in (config.path, path):
        if not file.is_file():
            raise UserError(f"the file {file} does not exist")
    with path.open("rb") as stream:
        labels = values_of(stream, str(path), one_hot=True)
    part = Part("", Images(config.path, None, str(config.path)), labels)
    check_lengths(part, f"in {config.path}", Names("images", "labels"))
    return part
