"""Models as single files: a classifier or generator with class names and image options,
read with `weights_only=True`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, provenance
from augpipe.core.options import ImageOptions
from augpipe.core.refs import Ref
from augpipe.core.states import save_state
from augpipe.core.store import load_images, load_state
from augpipe.pipeline.model_places import CLASSIFIER, GENERATOR

REFERENCE_LIMIT: Final = 200 * 2**20  # bytes of reference images that a generator's file or logged model may hold


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Names of a prediction's columns of probabilities, in class order."""
    return [f"probability_{name}" for name in classes]


class NotWrittenError(UserError):
    """A model that cannot be a file of its own; the message gives the reason."""


def classifier_file(
    state: Ref, classes: Sequence[str], spec: ImageSpec, options: ImageOptions, temperature: float
) -> dict[str, Any]:
    """The content of a classifier's file.

    spec: the image size and channels that the run chose if `options` leave them open. temperature: see
    `classifiers.calibration`.
    """
    return {**_about(CLASSIFIER, classes, spec, options), "temperature": temperature, "state": load_state(state)}


def generator_file(
    checkpoint: Ref, reference: Ref | None, spec: ImageSpec, options: ImageOptions, *, limited: bool = False
) -> dict[str, Any]:
    """The content of a generator's file; limited: whether it draws each image of `reference` once.

    reference: the images that the family draws from (`GeneratorConfig.draws_from_images`), else None.
    Raises NotWrittenError if it exceeds REFERENCE_LIMIT bytes.
    """
    state = load_state(checkpoint)
    images = None if reference is None else load_images(reference)
    return {
        **_about(GENERATOR, state["classes"], spec, options),
        **({} if images is None or not limited else {"available": images.counts()}),
        "checkpoint": checkpoint.sha256,
        "reference": None if images is None else _reference(images),
        "state": state,
    }


def _about(kind: str, classes: Sequence[str], spec: ImageSpec, options: ImageOptions) -> dict[str, Any]:
    resolved = options.model_copy(update={"size": spec.size, "channels": spec.channels})
    return {
        "augpipe": kind,
        "classes": list(classes),
        "image": resolved.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("augpipe", "torch")},
    }


def _reference(images: ImageSet) -> dict[str, Any]:
    """A training set as tensors and text; its files' names are left out, the ids that lineage needs are not."""
    check_size(images)
    return {
        "images": torch.from_numpy(np.array(images.images)),
        "labels": torch.from_numpy(np.array(images.labels)),
        "ids": images.table["id"].tolist(),
        "groups": images.table["group"].tolist(),
    }


def check_size(images: ImageSet, limit: int = REFERENCE_LIMIT) -> None:
    """NotWrittenError if reference images exceed `limit` bytes."""
    if images.images.nbytes > limit:
        raise NotWrittenError(
            f"it draws from images that must be part of the model: "
            f"{images.images.nbytes / 2**20:,.0f} MiB, but the limit is {limit / 2**20:,.0f} MiB"
        )


def reference_of(content: Mapping[str, Any]) -> ImageSet | None:
    """The training set in a generator's file, if it has one."""
    held = content["reference"]
    if held is None:
        return None
    table = provenance(held["ids"], groups=held["groups"], sources=held["ids"])
    return ImageSet(held["images"].numpy(), held["labels"].numpy(), content["classes"], table)


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write a model's file; equal models give equal bytes."""
    save_state(content, path)
