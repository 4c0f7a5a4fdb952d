"""Images per class, and class names as labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, unknown

Counts = Mapping[int, int]  # class → images
# Test images (or groups) that every class needs: fewer do not estimate their variance.
LEAST_TEST: Final = 5


def counts_of(labels: NDArray[np.int64], classes: int) -> dict[int, int]:
    """Labels (N,) → number of images of each of `classes` classes, zeros included."""
    return dict(enumerate(np.bincount(labels, minlength=classes).tolist()))


def label_of(name: object, classes: Sequence[str]) -> int:
    """Label of the class `name`; UserError lists the classes."""
    text = str(name)
    if text not in classes:
        raise unknown("class", text, classes)
    return list(classes).index(text)


def require_classes(classes: Sequence[str]) -> None:
    """UserError if there are fewer classes than a comparison needs."""
    if len(classes) < 2:
        raise UserError(f"at least 2 classes are needed; got {', '.join(classes) or 'none'}")
