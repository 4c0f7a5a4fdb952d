"""Predictions of every classifier on val and test, and on a second test set if there is one, a row an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.csv_files import spreadsheet_safe
from augpipe.core.images import ImageSet
from augpipe.core.options import SHIFT
from augpipe.core.refs import Ref
from augpipe.core.store import load_images, load_state
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.model_files import probability_columns
from augpipe.pipeline.runs import Runs

SPLITS: Final = ("val", "test")
# With a column of probabilities for each; with more the file would be too large.
MOST_CLASSES: Final = 50


@dataclass(frozen=True)
class Predicted:
    """The predictions of one classifier. images: split → its images. probabilities: split → float32 (N,K), stored."""

    arm: str
    seed: int
    images: dict[str, Ref]
    probabilities: Ref


def stored_predictions(experiment: Experiment, runs: Runs, seeds: Sequence[int]) -> tuple[Predicted, ...]:
    """The predictions of all arms and of these seeds, in the experiment's order."""
    results = []
    for arm in experiment.arms:
        for seed in seeds:
            run = runs.arms.get((arm.name, seed))
            if run is not None and run.scored is not None:
                images = {split: getattr(run.prepared.splits, split) for split in SPLITS}
                if run.prepared.shift is not None:
                    images[SHIFT] = run.prepared.shift
                results.append(Predicted(arm.name, seed, images, run.scored.probabilities))
    return tuple(results)


def table(ids: Sequence[str], probabilities: NDArray[np.float32], classes: Sequence[str]) -> pd.DataFrame:
    """`id, predicted, probability` (of the predicted class),
    and the probability of each of at most MOST_CLASSES classes.
    """
    best = probabilities.argmax(1) if len(probabilities) else np.empty(0, np.int64)
    columns = {
        "id": np.asarray(ids, object),
        "predicted": np.asarray([classes[at] for at in best], object),
        "probability": probabilities[np.arange(len(best)), best],
    }
    rows = pd.DataFrame(columns)
    if len(classes) > MOST_CLASSES:
        return rows
    return rows.join(pd.DataFrame(probabilities, columns=probability_columns(classes)))


def write_predictions(results: Sequence[Predicted], path: Path) -> dict[str, str]:
    """Write `arm, seed, split, id, true, predicted, probability, probability_NAME ...`; returns texts as `write_csv`.

    A source with groups has the column `group` after `id`. One classifier after another, so that only its rows are in
    memory.
    """
    changed: dict[str, str] = {}
    grouped = any(_grouped(load_images(ref)) for ref in results[0].images.values()) if results else False
    with path.open("w", encoding="utf-8", newline="") as stream:
        for at, result in enumerate(results):
            probabilities = load_state(result.probabilities)
            for split, ref in result.images.items():
                images = load_images(ref)
                rows, texts = spreadsheet_safe(_rows(result, split, images, probabilities[split].numpy(), grouped))
                rows.to_csv(stream, index=False, header=at == 0 and split == SPLITS[0], float_format="%.6g")
                changed |= texts
    return changed


def _rows(
    result: Predicted, split: str, images: ImageSet, probabilities: NDArray[np.float32], grouped: bool
) -> pd.DataFrame:
    rows = table(images.table["id"].tolist(), probabilities, images.classes)
    rows.insert(1, "true", pd.Series([images.classes[label] for label in images.labels], dtype=object))
    if grouped:
        rows.insert(1, "group", images.table["group"].to_numpy(object))
    for place, (name, value) in enumerate((("arm", result.arm), ("seed", result.seed), ("split", split))):
        rows.insert(place, name, value)
    return rows


def _grouped(images: ImageSet) -> bool:
    return bool((images.table["group"] != images.table["id"]).any())
