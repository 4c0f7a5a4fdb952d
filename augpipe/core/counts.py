"""Images per class, and class names as labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several, unknown

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


def check_available(counts: Counts, available: Counts, classes: Sequence[str]) -> None:
    """UserError for more images of a class than a model has, each of which it draws once."""
    for label, n in counts.items():
        if n > available[label]:
            raise UserError(
                f"the model has {several(available[label], 'image')} of class {classes[label]!r}, made elsewhere, and "
                f"draws each once; {n:,} were requested"
            )


def parse_counts(texts: Sequence[str], classes: Sequence[str]) -> dict[int, int]:
    """`3=500,7=200`, one or several texts, or a number for every class → label → images.

    A class whose name holds a comma needs a text of its own. UserError for anything else.
    """
    counts: dict[int, int] = {}
    for text in texts:
        for name, n in _pairs(text, classes):
            for label in range(len(classes)) if name is None else [label_of(name, classes)]:
                if label in counts:
                    raise UserError(f"--counts names class {classes[label]!r} twice")
                counts[label] = n
    if not sum(counts.values()):
        raise UserError("--counts asks for no image; write CLASS=NUMBER, or a number for every class")
    return counts


def parse_classes(texts: Sequence[str], classes: Sequence[str]) -> list[int]:
    """`3,7`, one or several texts → labels, in this order; all of them for no text.

    A class whose name holds a comma needs a text of its own. UserError for an unknown class, or one named twice.
    """
    labels: list[int] = []
    for text in texts:
        for name in [text] if text in classes else [part.strip() for part in text.split(",")]:
            label = label_of(name, classes)
            if label in labels:
                raise UserError(f"--classes names class {name!r} twice")
            labels.append(label)
    return labels or list(range(len(classes)))


def _pairs(text: str, classes: Sequence[str]) -> list[tuple[str | None, int]]:
    """(class or None for every class, number) of each part of a text."""
    name, _, n = text.rpartition("=")
    if name in classes:
        return [(name, _number(n, text))]
    pairs: list[tuple[str | None, int]] = []
    for part in text.split(","):
        name, equals, n = part.strip().rpartition("=")
        pairs.append((name.strip() if equals else None, _number(n, part)))
    return pairs


def _number(text: str, part: str) -> int:
    try:
        n = int(text)
    except ValueError:
        n = -1
    if n < 0:
        raise UserError(f"--counts {part.strip()!r} is not CLASS=NUMBER or a number")
    return n
