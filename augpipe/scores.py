"""How good a classifier is: @metric functions over (probabilities, labels), the figures from scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sk

from augpipe.kinds import Registry

Probabilities = NDArray[np.floating]
Labels = NDArray[np.int64]
metrics: Registry[Callable[[Probabilities, Labels], float]] = Registry("metric")
per_class: Registry[Callable[[Probabilities, Labels], NDArray[np.float64]]] = Registry(
    "per-class metric"
)


@per_class.register("recall")
def recall(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Share of each class's images that are found, (K,)."""
    k = probabilities.shape[1]
    found: NDArray[np.float64] = sk.recall_score(
        labels, probabilities.argmax(1), labels=range(k), average=None, zero_division=0.0
    )
    return found


@metrics.register("macro_recall")
def macro_recall(probabilities: Probabilities, labels: Labels) -> float:
    """Mean recall over classes: balanced accuracy, ACSA."""
    return float(recall(probabilities, labels).mean())


@metrics.register("macro_f1")
def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over classes of the harmonic mean of precision and recall."""
    k = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    return float(
        sk.f1_score(labels, predicted, labels=range(k), average="macro", zero_division=0.0)
    )


@metrics.register("accuracy")
def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Share of images classified rightly."""
    return float((probabilities.argmax(1) == labels).mean())


@metrics.register("macro_auc")
def macro_auc(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over classes of the area under the one-against-rest ROC curve."""
    areas = [
        sk.roc_auc_score(labels == c, probabilities[:, c])
        for c in range(probabilities.shape[1])
        if 0 < (labels == c).sum() < len(labels)
    ]
    return float(np.mean(areas)) if areas else float("nan")


@metrics.register("geometric_mean")
def geometric_mean(probabilities: Probabilities, labels: Labels) -> float:
    """K-th root of the product of recalls; 0 where a class is never found (Kubat & Matwin 1997)."""
    return float(np.prod(recall(probabilities, labels)) ** (1 / probabilities.shape[1]))


def score(probabilities: Probabilities, labels: Labels, classes: Sequence[str]) -> pd.DataFrame:
    """Every metric as a tidy table (metric, class, value), the empty class for the overall ones."""
    rows = [(name, "", metric(probabilities, labels)) for name, metric in metrics.items()]
    for name, metric in per_class.items():
        values = metric(probabilities, labels)
        rows += [(name, label, float(value)) for label, value in zip(classes, values, strict=True)]
    return pd.DataFrame(rows, columns=["metric", "class", "value"])
