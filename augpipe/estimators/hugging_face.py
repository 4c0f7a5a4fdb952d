"""Hugging Face's data sets of images and class labels in memory → arrays; recognised without importing `datasets`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from augpipe.core.errors import PictureError, UserError, choices
from augpipe.data.sources._pictures import UNREADABLE, decode

LIBRARY = "datasets"


def is_hugging_face(X: object) -> bool:
    """Whether X is a `datasets.Dataset`; UserError for several splits and for streams."""
    library: Any = sys.modules.get(LIBRARY)
    if library is None or not hasattr(library, "DatasetDict"):
        return False
    if isinstance(X, library.DatasetDict | library.IterableDatasetDict):
        raise UserError(f"the data set has the splits {choices(X)}: give one of them, such as X[{next(iter(X))!r}]")
    if isinstance(X, library.IterableDataset):
        raise UserError("the data set is a stream: load it without streaming=True")
    return isinstance(X, library.Dataset)


def arrays_of(dataset: Any) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The pictures as uint8 (N,H,W) or (N,H,W,3), and their class names (N,).

    Needs one column of the feature `Image` and one of `ClassLabel`, or called `label`; UserError otherwise, for a
    picture that cannot be read, and for pictures of several sizes.
    """
    library: Any = sys.modules[LIBRARY]
    image = _column(dataset, library.Image, "Image", "image")
    label = _column(dataset, library.ClassLabel, "ClassLabel", "label")
    if not len(dataset):
        raise UserError("the data set has no images")
    pictures = [_picture(picture, row) for row, picture in enumerate(dataset.with_format(None)[image])]
    odd = next((row for row, picture in enumerate(pictures) if picture.size != pictures[0].size), None)
    if odd is not None:
        raise UserError(
            f"image {odd} of the data set has {pictures[odd].size} pixels, the first one {pictures[0].size}: "
            "resize them to one size with map()"
        )
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    feature, values = dataset.features[label], dataset.with_format(None)[label]
    names = [feature.int2str(value) if isinstance(feature, library.ClassLabel) else value for value in values]
    return np.stack([np.asarray(picture.convert(mode)) for picture in pictures]), np.asarray(names)


def _column(dataset: Any, feature: type, what: str, usual: str) -> str:
    """The only column with that feature, or the one with the usual name; UserError if there is none."""
    names: list[str] = [name for name, one in dataset.features.items() if isinstance(one, feature)]
    if len(names) == 1:
        return names[0]
    if usual in names or (usual in dataset.features and not names):
        return usual
    raise UserError(
        f"the data set has {len(names)} columns of the feature {what}; one is needed, of {choices(dataset.features)}"
    )


def _picture(picture: object, row: int) -> Image.Image:
    """A picture of mode L or RGB, upright."""
    if not isinstance(picture, Image.Image):
        raise UserError(f"image {row} of the data set is a {type(picture).__name__}, not a picture")
    try:
        return decode(picture, None).pixels
    except (PictureError, *UNREADABLE) as error:
        raise UserError(f"image {row} of the data set: {error}") from None
