"""The metric of a comparison in finished trainings: their scores, and their predictions on the test images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.classifiers.scores import minority
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.options import Metric
from augpipe.core.counts import Counts
from augpipe.core.refs import Ref
from augpipe.core.store import load_images, load_state
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.runs import Runs


def counted_classes(metric: Metric, prepared: Prepared) -> tuple[int, ...]:
    """Classes that the metric is restricted to; empty: all."""
    return minority(prepared.counts["train"]) if metric == "minority_recall" else ()


def absent_classes(counts: Counts, classes: Sequence[str]) -> frozenset[str]:
    """Names of the classes without images."""
    return frozenset(name for at, name in enumerate(classes) if not counts[at])


def metric_values(scores: pd.DataFrame, metric: Metric, split: str, absent: Collection[str] = ()) -> pd.DataFrame:
    """`arm, seed, value` of the metric on a split, a row a training, in the order of `scores`.

    scores: `arm, seed, split, metric, class, value`. absent: classes without images in the split, which have no recall.
    """
    rows = scores[scores.split == split]
    if metric != "worst_class_recall":
        rows = rows[(rows.metric == metric) & (rows["class"] == "")]
        return rows[["arm", "seed", "value"]].reset_index(drop=True)
    recalls = rows[(rows.metric == "recall") & ~rows["class"].isin(absent)]
    return recalls.groupby(["arm", "seed"], sort=False).value.min().reset_index()


def outputs(
    runs: Runs, arm: str, classifiers: Mapping[int, Sequence[int]], metric: Metric = "macro_recall", split: str = "test"
) -> Outputs:
    """What an arm's classifiers predict on the images of a split, as `metrics.score` takes it.

    classifiers: generator's seed → seeds of its classifiers. Classes (G,R,N), or for `macro_auc` probabilities
    (G,R,N,K).
    """
    of = [[output(_probabilities(runs, arm, s), metric, split) for s in r] for r in classifiers.values()]
    return np.array(of)


def output(ref: Ref, metric: Metric = "macro_recall", split: str = "test") -> Outputs:
    """Stored predictions of a classifier: classes (N,), or for `macro_auc` probabilities (N,K)."""
    probabilities: NDArray[np.float32] = load_state(ref)[split].numpy()
    return probabilities if metric == "macro_auc" else probabilities.argmax(1)


def test_labels(runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Class and group of each test image, (N,)."""
    return labels_of(next(iter(runs.prepared.values())).splits.test)


def labels_of(ref: Ref) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Class and group of each image of a stored set, (N,)."""
    images = load_images(ref)
    return np.array(images.labels), images.table["group"].to_numpy()


def _probabilities(runs: Runs, arm: str, seed: int) -> Ref:
    scored = runs.arms[arm, seed].scored
    if scored is None:
        raise ValueError(f"arm {arm!r}, seed {seed} was not scored")
    return scored.probabilities
