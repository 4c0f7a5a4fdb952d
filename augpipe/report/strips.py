"""Strips of pictures for the page, within a budget of bytes: real, synthetic, and what train has nearest to these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from augpipe.core.images import ImageSet
from augpipe.report.figures import image_strip
from augpipe.report.results import Results

SHOWN: Final = 8  # images of a class in a strip
CLASSES: Final = 40  # classes with strips
BYTES: Final = 4_000_000  # of the page, for strips; it is to stay below 8 MB with all that it has
SIDE: Final = 32  # pixels at which images are compared
AT_ONCE: Final = 2**24  # bytes of pictures that are compared at a time


def strips(results: Results, room: float = 1.0) -> tuple[list[dict[str, Any]], int]:
    """A row a class, each with its (label, strip), and how many more classes there are than the page has room for.

    room: part of BYTES that may be used.
    """
    rows, used = list[dict[str, Any]](), 0
    for label, name in list(enumerate(results.classes))[:CLASSES]:
        made = list(_of_class(results, label))
        used += sum(len(strip) for _, strip in made)
        if used > room * BYTES and (rows or not room):
            break
        rows.append({"class": name, "strips": made})
    return rows, len(results.classes) - len(rows)


def _of_class(results: Results, label: int) -> Iterator[tuple[str, str]]:
    train = results.splits["train"]
    own = np.flatnonzero(train.labels == label)
    yield "real, train", image_strip(train.images[own[:SHOWN]])
    for generator in results.generators:
        made = generator.samples
        shown = made.images[np.flatnonzero(made.labels == label)[:SHOWN]]
        yield generator.name, image_strip(shown)
        if len(shown) and len(own):
            near = train.images[own[nearest(shown, train, own)]]
            yield f"nearest of train to {generator.name}", image_strip(near)


def nearest(
    images: NDArray[np.uint8], train: ImageSet, rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which of `rows` of train is nearest to each of uint8 (N,C,H,W): by squared distance of pixels, (N,).

    Larger images are averaged down to SIDE pixels before.
    """
    asked, block = _small(images), max(1, AT_ONCE // max(1, images[0].nbytes))
    best, found = torch.full((len(images),), torch.inf), torch.zeros(len(images), dtype=torch.int64)
    for begin in range(0, len(rows), block):
        apart = torch.cdist(asked, _small(train.images[rows[begin : begin + block]]))
        value, at = apart.min(1)
        found = torch.where(value < best, at + begin, found)
        best = torch.minimum(value, best)
    return found.numpy()


def _small(images: NDArray[np.uint8]) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(images)).float()
    return (F.interpolate(x, SIDE, mode="area") if x.shape[-1] > SIDE else x).flatten(1)
