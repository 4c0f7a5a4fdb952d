"""Transforms that albumentations has serialised: read, checked and applied image by image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.core.errors import UserError, one_line
from augpipe.core.processes import environment_variable

# albumentations queries a server for its latest version at import, unless this variable is set.
with environment_variable("NO_ALBUMENTATIONS_UPDATE", "1"):
    import albumentations as A


class Pipeline:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W), each image transformed separately; one random stream."""

    def __init__(self, serialised: Mapping[str, Any], seed: int) -> None:
        self._apply = _pipeline(serialised)
        # By default each worker process uses one thread per core for one small image. These threads block each other:
        # on 16 cores, twelve processes stalled.
        cv2.setNumThreads(1)
        self._apply.set_random_seed(seed % 2**32)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A transformed copy of each image."""
        rows: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        done = np.stack([self._changed(row) for row in rows])
        return torch.from_numpy(done).permute(0, 3, 1, 2).to(images.device)

    def _changed(self, row: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Transform one image; UserError if the result has another shape or type."""
        try:
            result: Any = self._apply(image=row)["image"]
        except Exception as error:  # any transform may raise anything
            message = one_line(error)[:200]
            raise UserError(
                f"the transform fails on an image of {row.shape}: {type(error).__name__}: {message}"
            ) from None
        changed = np.atleast_3d(result) if isinstance(result, np.ndarray) else None
        if changed is None or changed.dtype != np.uint8 or changed.shape != row.shape:
            got = f"{result.dtype} {tuple(result.shape)}" if hasattr(result, "dtype") else type(result).__name__
            raise UserError(
                f"the transform turns an image uint8 {row.shape} into {got}; it must keep size, channels and type "
                "(leave out Normalize, ToTensorV2, Resize and crops)"
            )
        return changed


def _pipeline(serialised: Mapping[str, Any]) -> A.Compose:
    """Load a serialised pipeline; UserError if it is not valid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments too that its own serialisation writes
            pipeline = A.from_dict(dict(serialised))
            for name in _dropped_keys(serialised, A.to_dict(pipeline)):
                raise ValueError(f"unknown argument {name!r}")
    except Exception as error:  # its classes may raise anything for invalid arguments
        message = one_line(error)[:200]
        raise UserError(f"the transform is not an albumentations pipeline: {type(error).__name__}: {message}") from None
    return pipeline if isinstance(pipeline, A.Compose) else A.Compose([pipeline])


def _dropped_keys(given: Any, again: Any) -> Iterator[str]:
    """Keys of a serialised pipeline that are gone after it was loaded and serialised again:
    albumentations only warns.
    """
    if isinstance(given, Mapping) and isinstance(again, Mapping):
        for key, value in given.items():
            if key not in again:
                yield str(key)
            else:
                yield from _dropped_keys(value, again[key])
    elif isinstance(given, list) and isinstance(again, list):
        for value, other in zip(given, again, strict=False):
            yield from _dropped_keys(value, other)


def check_pipeline(serialised: Mapping[str, Any]) -> None:
    """UserError for an invalid pipeline."""
    _pipeline(serialised)
