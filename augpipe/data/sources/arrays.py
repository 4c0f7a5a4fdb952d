"""Arrays: an .npz in MedMNIST's form or with `images` and `labels`, or a pair of .npy files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augpipe.core.errors import UserError, choices
from augpipe.core.schema import KindConfig
from augpipe.data.sources._listing import SPLITS, Listing, Rows, WholePath, one_spelling
from augpipe.data.sources._npy import BROKEN, Images, unreadable, values_of, window_of
from augpipe.data.sources._pictures import Blob, WindowedPixels

MOST_CLASSES: Final = 10_000


class Config(KindConfig):
    """Options of arrays: (N,H,W), (N,H,W,C) or (N,C,H,W).

    Floats lie in 0 to 1 or in 0 to 255 and integers in 0 to 255, or `image.window` is set.
    """

    kind: Literal["arrays"]
    """An .npz, or an .npy of images with one of labels."""

    path: WholePath
    """An .npz with `images` and `labels` (optionally `groups`, `weights`), or with `train_images`, `train_labels` and so
    on for train, val and test; or an .npy of images."""

    labels: WholePath | None = None
    """The .npy of labels for an .npy of images."""

    names: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Class names of the labels 0, 1, ... null: the labels themselves."""

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
    codes, classes = _classes(labels, config)
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
        notes=tuple(note for _, notes in windows for note in notes),
    )


@dataclass(frozen=True)
class _Part:
    """One array of images with labels, groups and weights; `name` is its split, "" if it has none."""

    name: str
    images: Images
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None


def _npz(config: Config) -> list[_Part]:
    """Read the parts of an .npz; UserError for other array names or unequal lengths."""
    path = config.path
    if not path.is_file():
        raise UserError(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with zipfile.ZipFile(path) as archive:
            have = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    names = [s for s in SPLITS if f"{s}_images" in have]
    if names and "images" in have:
        raise UserError(
            f"{path} has both images and {names[0]}_images, which is ambiguous; it has {choices(have)}"
        )
    if names:
        if "train" not in names:
            raise UserError(f"{path} has no train_images; it has {choices(have)}")
        return [_part(path, name, f"{name}_", have) for name in names]
    if "images" not in have:
        raise UserError(
            f"{path} has neither images and labels nor train_images and train_labels; "
            f"it has {choices(have)}"
        )
    return [_part(path, "", "", have)]


def _part(path: Path, name: str, prefix: str, have: list[str]) -> _Part:

    def column(what: str) -> NDArray[Any] | None:
        if f"{prefix}{what}" not in have:
            return None
        with zipfile.ZipFile(path) as archive, archive.open(f"{prefix}{what}.npy") as stream:
            return values_of(stream, f"{prefix}{what} of {path}")

    images = Images(path, f"{prefix}images.npy", f"{prefix}images of {path}")
    labels = column("labels")
    if labels is None:
        raise UserError(f"{path} has no {prefix}labels; it has {choices(have)}")
    part = _Part(name, images, labels, column("groups"), column("weights"))
    _lengths(part, f"of {path}", prefix)
    return part


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
    _lengths(part, f"in {config.path}", "")
    return part


def _lengths(part: _Part, where: str, prefix: str) -> None:
    for what in ("labels", "groups", "weights"):
        column = getattr(part, what)
        if column is not None and len(column) != part.images.n:
            raise UserError(
                f"{part.images.n} {prefix}images {where} but {len(column)} {prefix}{what}: "
                "each image needs one"
            )


def _classes(labels: NDArray[Any], config: Config) -> tuple[NDArray[np.int64], tuple[str, ...]]:
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
    if config.names is None:
        return codes.astype(np.int64), tuple(str(name) for name in values)
    if labels.dtype.kind not in "iub" or values[0] < 0 or values[-1] >= len(config.names):
        raise UserError(
            f"source.names has {len(config.names)} names for the labels 0 to {len(config.names) - 1}; "
            f"{config.path} has {choices(values[[0, -1]])}"
        )
    return labels.astype(np.int64), config.names


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
