"""Test images that the saved classifier misreads, as a section of the page."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.images import ImageSet
from augpipe.core.store import load_images, load_state
from augpipe.pipeline.model_places import CLASSIFIER
from augpipe.report.figures import image_strip
from augpipe.report.results import Results

SHOWN: Final = 6  # misread images of a class on the page
CLASSES: Final = 20  # classes on the page
BYTES: Final = 1_000_000  # budget for the images


def misread(results: Results, room: float = 1.0) -> dict[str, Any] | None:
    """The misread test images of the best classifier on val, which the run saves; None if no arm's can be saved.

    Classes with the fewest train images come first; of each, the images of which the classifier was surest. Keys:
    `arm`, `seed`, `n`, `of`, `classes` (name, misread, all, tiles of image, predicted class and probability), and
    `more`, the number of classes left out for lack of room. room: fraction of BYTES that may be used.
    """
    saved = next((model for model in results.models if model.kind == CLASSIFIER), None)
    if saved is None:
        return None
    predicted = next(p for p in results.predictions if (p.arm, p.seed) == (saved.name, saved.seed))
    images = load_images(predicted.images["test"])
    probabilities = load_state(predicted.probabilities)["test"].numpy()
    counts = results.splits["train"].counts()
    wrong = probabilities.argmax(1) != images.labels
    order = sorted(set(images.labels[wrong].tolist()), key=lambda label: (counts[label], label))
    rows, used = list[dict[str, Any]](), 0
    for label in order[:CLASSES]:
        row = _of_class(images, probabilities, wrong, label)
        used += sum(len(tile["image"]) for tile in row["tiles"])
        if used > room * BYTES and (rows or not room):
            break
        rows.append(row)
    return {
        "arm": saved.name,
        "seed": saved.seed,
        "n": int(wrong.sum()),
        "of": len(images),
        "classes": rows,
        "more": len(order) - len(rows),
    }


def _of_class(
    images: ImageSet, probabilities: NDArray[np.float32], wrong: NDArray[np.bool_], label: int
) -> dict[str, Any]:
    rows = np.flatnonzero(wrong & (images.labels == label))
    surest = rows[np.argsort(-probabilities[rows].max(1), kind="stable")][:SHOWN]
    return {
        "name": images.classes[label],
        "misread": len(rows),
        "all": int((images.labels == label).sum()),
        "tiles": [
            {
                "image": image_strip(images.images[row : row + 1]),
                "predicted": images.classes[int(probabilities[row].argmax())],
                "probability": f"{probabilities[row].max():.2f}",
            }
            for row in surest
        ],
    }
