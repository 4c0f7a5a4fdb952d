"""Images and labels in the forms of NumPy, PyTorch and torchvision → uint8 (N,C,H,W), and back into the same form."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from sklearn.utils import check_random_state
from torch.utils.data import Dataset

from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet, provenance
from augpipe.core.options import ImageOptions
from augpipe.data.intake import take_in
from augpipe.data.sources import Source, listing, suggest
from augpipe.estimators.hugging_face import arrays_of, is_hugging_face

CHANNELS: Final = (1, 3)
FORMS: Final = "(N,H,W), (N,H,W,C) or (N,C,H,W)"


@dataclass(frozen=True)
class Layout:
    """How the user's images lie in an array.

    axes: of one image, `HW`, `HWC` or `CHW`. shape: of one image, in these axes. flat: whether each image is a row of
    values. dtype: of the array.
    """

    axes: str
    shape: tuple[int, ...]
    flat: bool
    dtype: np.dtype[Any]

    @property
    def planes(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        if self.axes == "HW":
            return (1, self.shape[0], self.shape[1])
        at = [self.axes.index(axis) for axis in "CHW"]
        return (self.shape[at[0]], self.shape[at[1]], self.shape[at[2]])

    def to_planes(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """The user's array → uint8 (N,C,H,W)."""
        rows = images.reshape(len(images), *self.shape)
        if self.axes == "HW":
            rows = rows[:, None]
        elif self.axes == "HWC":
            rows = rows.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(rows, dtype=np.uint8)

    def from_planes(self, planes: NDArray[np.uint8]) -> NDArray[Any]:
        """uint8 (N,C,H,W) → an array like the user's."""
        rows = planes.transpose(0, 2, 3, 1) if self.axes == "HWC" else planes
        rows = rows.reshape(len(planes), *((-1,) if self.flat else self.shape))
        return np.ascontiguousarray(rows, dtype=self.dtype)


def layout_of(images: NDArray[Any], image_shape: Sequence[int] | None) -> Layout:
    """The layout of an array; image_shape: of one image, for images that are flattened.

    UserError for floats, values outside 0..255, other shapes than FORMS, and other channels than CHANNELS.
    """
    flat = images.ndim == 2
    if flat and image_shape is None:
        raise UserError(
            f"the images have the shape {images.shape}: reshape them to {FORMS}, or set image_shape of the estimator"
        )
    shape = images.shape[1:] if image_shape is None else tuple(int(n) for n in image_shape)
    if images.shape[1:] not in (shape, (int(np.prod(shape)),)):
        raise UserError(f"image_shape is {shape}, but the images have the shape {images.shape}")
    axes = _axes(shape)
    if axes is None:
        raise UserError(f"the images have the shape {(len(images), *shape)}: give {FORMS} with 1 or 3 channels")
    _check_values(images)
    return Layout(axes, shape, flat, images.dtype)


def _axes(shape: tuple[int, ...]) -> str | None:
    if len(shape) == 2:
        return "HW"
    if len(shape) != 3:
        return None
    if shape[0] in CHANNELS and shape[2] not in CHANNELS:
        return "CHW"
    return "HWC" if shape[2] in CHANNELS else None


def _check_values(images: NDArray[Any]) -> None:
    """UserError for values that are not whole numbers in 0..255."""
    if images.dtype == np.uint8:
        return
    if images.dtype.kind not in "iu":
        raise UserError(
            f"the images are of type {images.dtype}: give uint8 in 0 to 255, such as "
            "(255 * X).round().astype(np.uint8) for values in 0 to 1"
        )
    if len(images) and not (images.min() >= 0 and images.max() <= 255):
        raise UserError(f"the images have values from {images.min()} to {images.max()}: give uint8 in 0 to 255")


@dataclass(frozen=True)
class Arrays:
    """Images and labels as NumPy arrays; tensors: whether the user gave tensors."""

    images: NDArray[Any]
    labels: Any
    tensors: bool = False


def to_tensors(images: NDArray[Any], labels: NDArray[Any]) -> tuple[Any, Any]:
    """Arrays → tensors; labels that are text stay an array."""
    is_text = labels.dtype.kind in "UO"
    return torch.from_numpy(images), labels if is_text else torch.from_numpy(labels)


def to_arrays(X: Any, y: Any = None) -> Arrays:
    """Arrays, tensors, a torch `Dataset` of (image, label), Hugging Face's `Dataset`, or the path of images → arrays in
    the layout of the input.

    A data set or a path has labels, so y must be None: UserError. Arrays and lists are returned as they are.
    """
    if (hugging_face := is_hugging_face(X)) or isinstance(X, str | Path | Dataset):
        if y is not None:
            raise UserError(f"y must be None, because the {_what(X)} has the labels")
        if hugging_face:
            return Arrays(*arrays_of(X))
        return _from_dataset(X) if isinstance(X, Dataset) else _from_path(Path(X))
    tensors = isinstance(X, torch.Tensor)
    images, labels = (v.detach().cpu().numpy() if isinstance(v, torch.Tensor) else v for v in (X, y))
    return Arrays(images, labels, tensors)


def _what(X: Any) -> str:
    return f"source {str(X)!r}" if isinstance(X, str | Path) else "data set"


def _from_dataset(dataset: Any) -> Arrays:
    """The items of a data set, PIL images or uint8 tensors (C,H,W) with labels, in one array."""
    images: list[NDArray[Any]] = []
    labels: list[Any] = []
    for row in range(len(dataset)):
        item = dataset[row]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(f"item {row} of the data set is a {type(item).__name__}; give pairs of image and label")
        image = np.asarray(item[0])
        if images and image.shape != images[0].shape:
            raise UserError(
                f"image {row} of the data set has the shape {image.shape}, the first one {images[0].shape}: "
                "add a transform that resizes them to one size"
            )
        images.append(image)
        labels.append(item[1].item() if isinstance(item[1], torch.Tensor) else item[1])
    if not images:
        raise UserError("the data set has no images")
    return Arrays(np.stack(images), np.asarray(labels))


def _from_path(path: Path) -> Arrays:
    """The usable pictures of a folder or another source, resized to one size as in a run,
    with class names as labels.
    """
    listed = listing(TypeAdapter(Source).validate_python(suggest(path)))
    with tempfile.TemporaryDirectory(prefix="augpipe-intake-") as folder:
        taken = take_in(listed, ImageOptions(), folder=Path(folder) / "images").image_set()
        images = np.array(taken.images)
    rows = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
    return Arrays(np.ascontiguousarray(rows), np.array(taken.classes)[taken.labels])


def image_set(planes: NDArray[np.uint8], codes: NDArray[np.int64], classes: NDArray[Any]) -> ImageSet:
    """uint8 (N,C,H,W) and class indices (N,) as an image set; classes: the label values, (K,)."""
    names = [str(value) for value in classes.tolist()]
    return ImageSet(planes, codes, names, provenance([str(row) for row in range(len(codes))]))


def seed_of(random_state: Any) -> int:
    """A seed of scikit-learn's `random_state`: an int is the seed itself; a RandomState, or NumPy's for None, draws
    one.

    UserError for an int below 0, ValueError for another type.
    """
    if isinstance(random_state, Integral):
        if random_state < 0:
            raise UserError(f"random_state must be 0 or more; got {random_state}")
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
