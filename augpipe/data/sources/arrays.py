"""Arrays: an .npz in MedMNIST's form or with `images` and `labels`, or a pair of .npy files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augpipe.core.errors import UserError, choices, unknown
from augpipe.core.schema import KindConfig
from augpipe.data.sources._listing import SPLITS, Listing, Rows, WholePath, one_spelling
from augpipe.data.sources._npy import BROKEN, Images, unreadable, values_of, window_of
from augpipe.data.sources._pictures import Blob, WindowedPixels
from augpipe.data.sources._unused import check_unused

MOST_CLASSES: Final = 10_000
GROUPS, CLASS_NAMES = "groups", "class_names"


class Config(KindConfig):
    """Options of arrays: (N,H,W), (N,H,W,C) or (N,C,H,W).

    Floats lie in 0 to 1 or in 0 to 255 and integers in 0 to 255, or `image.window` is set.
    """

    kind: Literal["arrays"]
    """An .npz, or an .npy of images with one of labels."""

    path: WholePath
    """An .npz with `images` and `labels` (optionally `groups`, `weights`, `class_names`), or with `train_images`,
    `train_labels` and so on for train, val and test; or an .npy of images."""

    labels: WholePath | None = None
    """The .npy of labels for an .npy of images."""

    names: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Class names of the labels 0, 1, ... null: the file's `class_names`, or the labels themselves."""

    groups: str = GROUPS
    """Name of the array of groups, such as patients, without train_, val_ or test_."""

    ignore: tuple[str, ...] = ()
    """Arrays that are left unused although they look like groups."""

    official: bool = True
    """Keep the file's own splits. false: merge them, for `split` to draw others."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user; None if it is not an .npz."""
    return {"kind": "arrays", "path": str(path)} if path.suffix.lower() == ".npz" else None


def listing(config: Config) -> Listing:
    """List every image of every array; UserError if the file is broken or has another structure."""
    try:
        return _listing(config)
    except UserError:
        raise
    except BROKEN as error:
        raise unreadable(config.path, error) from None


def _listing(config: Config) -> Listing:
    parts = _npz(config) if config.path.suffix.lower() == ".npz" else [_pair(config)]
    labels = np.concatenate([part.labels for part in parts])
    names, note = _class_names(config, labels)
    codes, classes = _classes(labels, names, config)
    unused = _unused(parts, codes, config)
    starts = np.cumsum([0, *(part.images.n for part in parts)])
    windows = [window_of(part.images, part.name) for part in parts]

    def fetch(rows: Rows) -> Iterator[Blob]:
        for part, start, end, (window, _) in zip(parts, starts, starts[1:], windows, strict=False):
            local_rows = rows[(rows >= start) & (rows < end)] - start
            for pixels in part.images.at(local_rows):
                yield pixels if window is None else WindowedPixels(pixels, window)

    split_names = [part.name for part in parts for _ in range(part.images.n)]
    official = config.official and parts[0].name != ""
    ids = [f"{part.name or 'images'}/{row:06d}" for part in parts for row in range(part.images.n)]
    return Listing(
        ids=ids,
        labels=codes,
        classes=classes,
        fetch=fetch,
        splits=np.array(split_names, object) if official else None,
        groups=_column([part.groups for part in parts], np.array(ids, object)),
        weights=_weights([part.weights for part in parts], config.path),
        notes=(
            *unused,
            *([note] if note else []),
            *(note for _, notes in windows for note in notes),
        ),
    )


@dataclass(frozen=True)
class _Part:
    """One array of images with labels, groups and weights; `name` is its split, "" if it has none.

    others: the arrays of one value per image that are not used, by their name without the split.
    """

    name: str
    images: Images
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class _Names(NamedTuple):
    """How an .npz names its arrays: images, labels, and the name of an array of a split."""

    images: str
    labels: str
    pattern: str

    def of(self, split: str, what: str) -> str:
        """Name of an array of the split."""
        what = {"images": self.images, "labels": self.labels}.get(what, what)
        return self.pattern.format(split=split, what=what)

    def inner(self, split: str, name: str) -> str | None:
        """Name of an array without its split; None if it is not one of this split."""
        before, _, after = self.pattern.format(split=split, what="|").partition("|")
        inner = name.removeprefix(before).removesuffix(after)
        return inner if inner and f"{before}{inner}{after}" == name else None


# MedMNIST's and our own; Keras's; scikit-learn's.
WHOLE: Final = tuple(
    _Names(images, labels, "{what}")
    for images, labels in (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target"))
)
DIVIDED: Final = (
    _Names("images", "labels", "{split}_{what}"), _Names("x", "y", "{what}_{split}"),
    _Names("X", "y", "{what}_{split}"),
)  # fmt: skip


def _npz(config: Config) -> list[_Part]:
    """Read the parts of an .npz; UserError for other array names or unequal lengths."""
    path = config.path
    if not path.is_file():
        raise UserError(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        have = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    forms = _forms(have)
    if len(forms) > 1:
        both = " and ".join(names.of(splits[0], "images") for names, splits in forms)
        raise UserError(f"{path} has both {both}, which is ambiguous; it has {choices(have)}")
    if not forms:
        raise UserError(
            f"{path} has neither images and labels nor train_images and train_labels, x_train and y_train, x and y; "
            f"it has {choices(have)}"
        )
    names, splits = forms[0]
    if splits != [""] and "train" not in splits:
        raise UserError(f"{path} has no {names.of('train', 'images')}; it has {choices(have)}")
    return [_part(config, names, split, have) for split in splits]


def _forms(have: Sequence[str]) -> list[tuple[_Names, list[str]]]:
    """The first form with both images and labels, whole and divided; without one, the first with images."""
    whole = [(names, [""]) for names in WHOLE if names.images in have]
    divided = [(names, [s for s in SPLITS if names.of(s, "images") in have]) for names in DIVIDED]

    def is_complete(form: tuple[_Names, list[str]]) -> bool:
        names, splits = form
        return names.of(splits[0], "labels") in have

    forms = []
    for kind in (whole, [form for form in divided if form[1]]):
        forms += sorted(kind, key=is_complete, reverse=True)[:1]  # in their order otherwise
    return [form for form in forms if is_complete(form)] or forms


def _part(config: Config, names: _Names, split: str, have: Sequence[str]) -> _Part:
    path = config.path

    def column(what: str) -> NDArray[Any] | None:
        name = names.of(split, what)
        if name not in have:
            return None
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            return values_of(stream, f"{name} of {path}", one_hot=what == "labels")

    name = names.of(split, "images")
    images = Images(path, f"{name}.npy", f"{name} of {path}")
    labels = column("labels")
    if labels is None:
        raise UserError(f"{path} has no {names.of(split, 'labels')}; it has {choices(have)}")
    groups = column(config.groups)
    if groups is None and config.groups != GROUPS:
        wanted = names.of(split, config.groups)
        raise unknown(f"array in source.groups of {path}", wanted, have)
    part = _Part(
        split, images, labels, groups, column("weights"), _others(path, names, split, have, config)
    )
    _lengths(part, f"of {path}", names)
    return part


def _others(
    path: Path, names: _Names, split: str, have: Sequence[str], config: Config
) -> dict[str, NDArray[Any]]:
    """Arrays of the split that are not used, by their name without the split; an array of another form is empty."""
    used = {
        CLASS_NAMES,
        *(
            names.of(s, what)
            for s in ("", *SPLITS)
            for what in ("images", "labels", "weights", config.groups)
        ),
    }
    others = {}
    for name in have:
        inner = names.inner(split, name)
        if name in used or (inner is None and any(names.inner(s, name) for s in SPLITS)):
            continue  # used, or of another split
        others[inner or name] = _text_of(path, name) if inner else np.empty(0)
    return others


def _text_of(path: Path, name: str) -> NDArray[Any]:
    """Values of an array that may be groups, as text; empty if it is of another form."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            values = values_of(stream, name)
    except (*BROKEN, UserError):
        return np.empty(0)
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return values.astype(str) if values.dtype.kind in "iubU" else np.empty(0)


def _unused(parts: Sequence[_Part], labels: NDArray[Any], config: Config) -> tuple[str, ...]:
    """The note of unused arrays; UserError if one looks like groups. An array counts if all parts have it."""
    columns: dict[str, NDArray[Any] | None] = {}
    for name in dict.fromkeys(name for part in parts for name in part.others):
        values = [part.others.get(name, np.empty(0)) for part in parts]
        whole = all(len(v) == part.images.n for v, part in zip(values, parts, strict=True))
        columns[name] = np.concatenate(values) if whole else None
    return check_unused(
        columns, labels, where=f"the file {config.path}", what="array", ignored=config.ignore,
        has_groups=all(part.groups is not None for part in parts), setting="source.groups={}",
    )  # fmt: skip


def _class_names(config: Config, labels: NDArray[Any]) -> tuple[tuple[str, ...] | None, str]:
    """The config's names, or the file's `class_names` if it has one for each of the labels 0, 1, ...; else a note."""
    if config.names is not None or config.path.suffix.lower() != ".npz":
        return config.names, ""
    with zipfile.ZipFile(config.path) as archive:
        if f"{CLASS_NAMES}.npy" not in archive.namelist():
            return None, ""
    names = _text_of(config.path, CLASS_NAMES)
    numbers = labels.dtype.kind in "iubf" and len(labels)
    if numbers and len(set(names.tolist())) == len(names) > labels.max() and labels.min() >= 0:
        return tuple(str(name) for name in names), ""
    return (
        None,
        f"{CLASS_NAMES} of {config.path} are not used: they are not one text for each of the labels 0, 1, ...",
    )


def _pair(config: Config) -> _Part:
    if config.labels is None:
        raise UserError(
            f"{config.path} is an array of images; set source.labels to the array of labels"
        )
    for path in (config.path, config.labels):
        if not path.is_file():
            raise UserError(f"the file {path} does not exist")
    with config.labels.open("rb") as stream:
        labels = values_of(stream, str(config.labels))
    part = _Part("", Images(config.path, None, str(config.path)), labels)
    _lengths(part, f"in {config.path}", WHOLE[0])
    return part


def _lengths(part: _Part, where: str, names: _Names) -> None:
    for what in ("labels", "groups", "weights"):
        column = getattr(part, what)
        if column is not None and len(column) != part.images.n:
            raise UserError(
                f"{part.images.n} {names.of(part.name, 'images')} {where} but "
                f"{len(column)} {names.of(part.name, what)}: each image needs one"
            )


def _classes(
    labels: NDArray[Any], names: tuple[str, ...] | None, config: Config
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels → int64 indices into the class names, and the names; UserError for invalid labels."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
            invalid = labels[~np.isfinite(labels) | (labels != np.round(labels))][0]
            raise UserError(
                f"the labels of {config.path} contain {invalid:g}; labels must be whole numbers or text"
            )
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iubUS":
        raise UserError(
            f"the labels of {config.path} are of type {labels.dtype}; use whole numbers, text"
        )
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "U" and (labels == "").any():
        row = int(np.flatnonzero(labels == "")[0])
        raise UserError(f"the label of image {row} of {config.path} is empty")
    values, codes = np.unique(labels, return_inverse=True)
    if len(values) > MOST_CLASSES:
        raise UserError(
            f"the labels of {config.path} have {len(values):,} values, too many for classes: at most {MOST_CLASSES:,}"
        )
    if labels.dtype.kind == "U":
        one_spelling([str(name) for name in values], str(config.path))
    if names is None:
        return codes.astype(np.int64), tuple(str(name) for name in values)
    if labels.dtype.kind not in "iub" or values[0] < 0 or values[-1] >= len(names):
        raise UserError(
            f"source.names (or class_names) has {len(names)} names for the labels 0 to {len(names) - 1}; "
            f"{config.path} has {choices(values[[0, -1]])}"
        )
    return labels.astype(np.int64), names


def _column(
    parts: list[NDArray[Any] | None], ids: NDArray[np.object_]
) -> NDArray[np.object_] | None:
    """Concatenated groups as text; None unless every part has groups."""
    if any(part is None for part in parts):
        return None
    groups = np.concatenate(
        [np.asarray(p).astype(str).astype(object) for p in parts if p is not None]
    )
    return np.where(groups == "", ids, groups)  # an image without a group is its own group


def _weights(parts: list[NDArray[Any] | None], path: Path) -> NDArray[np.float64] | None:
    if any(part is None for part in parts):
        return None
    weights = np.concatenate([np.asarray(p, np.float64) for p in parts if p is not None])
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise UserError(f"weights of {path} must be numbers above 0")
    return weights
