"""Image strips for the page within a byte budget:
real, synthetic, and the nearest train images of the synthetic ones.
"""

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
BYTES: Final = 4_000_000  # budget for strips; the whole page must stay below 8 MB
SIDE: Final = 32  # pixels at which images are compared
AT_ONCE: Final = 2**24  # bytes of images compared at a time


def strips(results: Results, room: float = 1.0) -> tuple[list[dict[str, Any]], int]:
    """One row a class with its (label, strip) pairs, and the number of classes left out for lack of room.

    room: fraction of BYTES that may be used.
    """
    rows, used = list[dict[str, Any]](), 0
    for label, name in list(enumerate(results.classes))[:CLASSES]:
        row = list(_of_class(results, label))
        used += sum(len(strip) for _, strip in row)
        if used > room * BYTES and (rows or not room):
            break
        rows.append({"class": name, "strips": row})
    return rows, len(results.classes) - len(rows)


def _of_class(results: Results, label: int) -> Iterator[tuple[str, str]]:
    train = results.splits["train"]
    real = np.flatnonzero(train.labels == label)
    yield "real, training", image_strip(train.images[real[:SHOWN]])
    for generator in results.generators:
        samples = generator.samples
        shown = samples.images[np.flatnonzero(samples.labels == label)[:SHOWN]]
        yield generator.name, image_strip(shown)
        if len(shown) and len(real):
            near = train.images[real[nearest(shown, train, real)]]
            yield f"training image nearest to {generator.name}", image_strip(near)


def nearest(images: NDArray[np.uint8], train: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index into `rows` of the train image nearest to each image, (N,), by Euclidean pixel distance.

    images: uint8 (N,C,H,W); images larger than SIDE pixels are averaged down to SIDE first.
    """
    queries, chunk = _small(images), max(1, AT_ONCE // max(1, images[0].nbytes))
    smallest = torch.full((len(images),), torch.inf)
    nearest_row = torch.zeros(len(images), dtype=torch.int64)
    for start in range(0, len(rows), chunk):
        distances = torch.cdist(queries, _small(train.images[rows[start : start + chunk]]))
        value, index = distances.min(1)
        nearest_row = torch.where(value < smallest, index + start, nearest_row)
        smallest = torch.minimum(value, smallest)
    return nearest_row.numpy()


def _small(images: NDArray[np.uint8]) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(images)).float()
    return (F.interpolate(x, SIDE, mode="area") if x.shape[-1] > SIDE else x).flatten(1)
