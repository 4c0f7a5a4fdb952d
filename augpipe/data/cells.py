"""Cells: the combinations of a class and values of attributes that images have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cells:
    """Every combination that an image has, sorted by class, then by values.

    labels: cell of each image, int64 (N,). names: of each cell, such as `melanoma + scanner A`. class_of: class of each
    cell, so that the cells of a class are consecutive. known: whether a cell has no missing value.
    """

    labels: NDArray[np.int64]
    names: tuple[str, ...]
    class_of: tuple[int, ...]
    known: tuple[bool, ...]


def cells(labels: NDArray[np.int64], classes: Sequence[str], attributes: Mapping[str, NDArray[Any]]) -> Cells:
    """labels: class of each image, int64 (N,). attributes: name → value of each image, text (N,), "" for none."""
    rows = list(zip(labels.tolist(), *(values.tolist() for values in attributes.values()), strict=True))
    have = sorted(set(rows))
    number = {row: at for at, row in enumerate(have)}
    return Cells(
        np.array([number[row] for row in rows], np.int64),
        tuple(" + ".join([classes[c], *_pairs(attributes, values)]) for c, *values in have),
        tuple(c for c, *_ in have),
        tuple(all(values) for _, *values in have),
    )


def _pairs(attributes: Mapping[str, Any], values: Sequence[str]) -> list[str]:
    return [f"{name} {value or '?'}" for name, value in zip(attributes, values, strict=True)]
