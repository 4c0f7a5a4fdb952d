"""Labels of arrays → class indices and names."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._array_columns import CLASS_NAMES
from augpipe.data.sources._array_text import text_of
from augpipe.data.sources._listing import labelled, one_spelling

MOST_CLASSES: Final = 10_000
NONE: Final = -1  # the label of an image without a class in many sets


def classes_of(
    labels: NDArray[Any], names: tuple[str, ...] | None, classes: tuple[str, ...] | None, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels → int64 indices into the class names, -1 for an image of another class; and the names.

    names: of the labels 0, 1, ...; classes: those to use. UserError for invalid labels.
    """
    labels = _plain(labels, path)
    numbers = labels.dtype.kind != "U"
    left_out = np.zeros(len(labels), bool)
    if numbers and classes is not None and str(NONE) not in classes:
        left_out = labels == NONE
    values = np.unique(labels[~left_out])
    if len(values) > MOST_CLASSES:
        raise UserError(
            f"the labels of {path} have {len(values):,} values, too many for classes: at most {MOST_CLASSES:,}"
        )
    if not numbers:
        one_spelling([str(name) for name in values], str(path))
    if classes is None and (none := unlabelled(labels)).any():
        _check_unlabelled(int(none.sum()), values, names, path)
    if names is not None and (not numbers or not len(values) or values[0] < 0 or values[-1] >= len(names)):
        raise UserError(
            f"source.names (or class_names) has {len(names)} names for the labels 0 to {len(names) - 1}; "
            f"{path} has {choices(values[[0, -1]])}"
        )
    if names is not None and classes is None:
        return labels.astype(np.int64), names
    kinds, at = np.unique(labels, return_inverse=True)
    words = [str(value) if names is None or value < 0 else names[int(value)] for value in kinds]
    if classes is None:
        return at.astype(np.int64), tuple(words)
    index, used = labelled(words, classes, str(path))
    return index[at], used


def unlabelled(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (N,): -1 beside two or more other labels,
    which usually means none. -1 beside 1 alone is a class of some sets.
    """
    if labels.dtype.kind not in "if":
        return np.zeros(len(labels), bool)
    none = labels == NONE
    return none if len(np.unique(labels[~none])) > 1 else np.zeros(len(labels), bool)


def left_out_note(codes: NDArray[np.int64]) -> tuple[str, ...]:
    """A note of the images that are of no class in use."""
    n = int((codes < 0).sum())
    return (f"{several(n, 'image')} of other classes left out",) if n else ()


def _plain(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    """Labels as integers or text; UserError for others."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
            invalid = labels[~np.isfinite(labels) | (labels != np.round(labels))][0]
            raise UserError(f"the labels of {path} contain {invalid:g}; labels must be whole numbers or text")
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iubUS":
        raise UserError(f"the labels of {path} are of type {labels.dtype}; use whole numbers, text")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "U" and (labels == "").any():
        row = int(np.flatnonzero(labels == "")[0])
        raise UserError(f"the label of image {row} of {path} is empty")
    return labels


def _check_unlabelled(n: int, values: NDArray[Any], names: tuple[str, ...] | None, path: Path) -> None:
    """UserError that says how to leave n images with the label -1 out, or to read it as a class."""
    others = [int(value) for value in values if value != NONE]
    if names is not None and (others[0] < 0 or others[-1] >= len(names)):
        return  # reported with the names
    words = [str(value) if names is None else names[value] for value in others]
    chosen = f"--set 'source.classes={json.dumps(words, ensure_ascii=False)}'"
    raise UserError(
        f"{several(n, 'image')} of {path} with the label -1, which usually means none: {chosen} leaves such out"
        + ('; add "-1" to it if it is a class' if names is None else "")
    )


def class_names(path: Path, labels: NDArray[Any]) -> tuple[tuple[str, ...] | None, str]:
    """The `class_names` of an .npz if it has one for each of the labels 0, 1, ...; else None and a note."""
    with zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
    array = next((name for name in CLASS_NAMES if f"{name}.npy" in members), "")
    if not array:
        return None, ""
    names = text_of(path, array)
    labels = labels[~unlabelled(labels)]
    numbers = labels.dtype.kind in "iubf" and len(labels)
    if numbers and len(set(names.tolist())) == len(names) > labels.max() and labels.min() >= 0:
        return tuple(str(name) for name in names), ""
    return (None, f"{array} of {path} are not used: they are not one text for each of the labels 0, 1, ...")
