"""Classification metrics: registered functions of (probabilities, labels), mostly from scikit-learn.

It is imported where it is used: the names of the metrics need neither its time nor its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.counts import Counts
from augpipe.core.registry import Registry

Probabilities = NDArray[np.floating]
Labels = NDArray[np.int64]
ECE_BINS: Final = 15
metrics: Registry[Callable[[Probabilities, Labels], float]] = Registry("metric")
per_class: Registry[Callable[[Probabilities, Labels], NDArray[np.float64]]] = Registry("per-class metric")


@per_class.register("recall")
def recall(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Fraction of each class's images that are classified correctly, (K,)."""
    from sklearn import metrics as sk

    k = probabilities.shape[1]
    recalls: NDArray[np.float64] = sk.recall_score(
        labels, probabilities.argmax(1), labels=range(k), average=None, zero_division=0.0
    )
    return recalls


@per_class.register("specificity")
def specificity(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Fraction of the other classes' images that are not predicted as this class, (K,); 0 without such images."""
    from sklearn import metrics as sk

    k = probabilities.shape[1]
    confusion = sk.confusion_matrix(labels, probabilities.argmax(1), labels=range(k))
    negatives = confusion.sum() - confusion.sum(1)
    false_positives = confusion.sum(0) - np.diag(confusion)
    specificities: NDArray[np.float64] = (negatives - false_positives) / np.maximum(negatives, 1)
    return specificities


@metrics.register("macro_recall")
def macro_recall(probabilities: Probabilities, labels: Labels) -> float:
    """Mean recall over classes: balanced accuracy, ACSA."""
    return float(recall(probabilities, labels).mean())


@metrics.register("macro_f1")
def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over classes of the harmonic mean of precision and recall."""
    from sklearn import metrics as sk

    k = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    return float(sk.f1_score(labels, predicted, labels=range(k), average="macro", zero_division=0.0))


@metrics.register("accuracy")
def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Fraction of images classified correctly."""
    return float((probabilities.argmax(1) == labels).mean())


@metrics.register("macro_auc")
def macro_auc(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over classes of the area under the one-against-rest ROC curve."""
    from sklearn import metrics as sk

    areas = [
        sk.roc_auc_score(labels == c, probabilities[:, c])
        for c in range(probabilities.shape[1])
        if 0 < (labels == c).sum() < len(labels)
    ]
    return float(np.mean(areas)) if areas else float("nan")


@metrics.register("geometric_mean")
def geometric_mean(probabilities: Probabilities, labels: Labels) -> float:
    """K-th root of the product of recalls; 0 if a class has recall 0 (Kubat & Matwin 1997)."""
    return float(np.prod(recall(probabilities, labels)) ** (1 / probabilities.shape[1]))


@metrics.register("ece")
def ece(probabilities: Probabilities, labels: Labels) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over 15 bins (Guo et al. 2017, eq. 3)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    # Bins are open below, as in the paper: a confidence of 1 falls into the last bin.
    bins = np.clip(np.ceil(confidence.astype(np.float64) * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, right.astype(np.float64) - confidence, ECE_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def minority(counts: Counts) -> tuple[int, ...]:
    """Classes with fewer training images than the mean over classes."""
    even = sum(counts.values()) / len(counts)
    return tuple(c for c, n in sorted(counts.items()) if n < even)


def score(probabilities: Probabilities, labels: Labels, classes: Sequence[str], train: Counts) -> pd.DataFrame:
    """Every metric as a tidy table (metric, class, value), with an empty class for overall metrics.

    train: real training images of each class; `minority_recall` is the mean recall of `minority`, if not empty.
    """
    rows = [(name, "", metric(probabilities, labels)) for name, metric in metrics.items()]
    rare = list(minority(train))
    if rare:
        rows.append(("minority_recall", "", float(recall(probabilities, labels)[rare].mean())))
    for name, metric in per_class.items():
        values = metric(probabilities, labels)
        rows += [(name, label, float(value)) for label, value in zip(classes, values, strict=True)]
    return pd.DataFrame(rows, columns=["metric", "class", "value"])
