"""A metric of every training on the test images, and how much each test image contributes to it.

All metrics get their variance over test images in one way: the derivative of the metric with respect to the weight of
each image (delta method; for recalls it is exact, for areas under ROC curves it is that of DeLong et al. 1988).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.options import METRICS, Metric

Labels = NDArray[np.int64]
Values = NDArray[np.float64]
# Predicted classes (G,R,N) of G generator trainings and R classifiers on each; or probabilities (G,R,N,K).
Outputs = NDArray[Any]


@dataclass(frozen=True)
class Scored:
    """A metric (0..1) of G x R trainings.

    values: (G,R). contributions: (G,N), derivative of the mean over R with respect to the weight of each test image.
    weights: (N,), how much the metric changes with one image right instead of wrong: for degrees of freedom.
    """

    values: Values
    contributions: Values
    weights: Values


def score(predictions: Outputs, truth: Labels, metric: Metric = "macro_recall", classes: Sequence[int] = ()) -> Scored:
    """The metric of each training.

    predictions: (G,R,N) predicted classes; for `macro_auc` (G,R,N,K) probabilities. truth: (N,) true classes. classes:
    those of `minority_recall`; for the other recalls an optional selection, so that one class gives its recall.
    ValueError names an unknown metric or a shape that does not fit.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; have {', '.join(METRICS)}")
    dimensions = 4 if metric == "macro_auc" else 3
    if predictions.ndim != dimensions or predictions.shape[2] != len(truth):
        wanted = "(G, R, N, K) probabilities" if dimensions == 4 else "(G, R, N) classes"
        raise ValueError(f"{metric} needs {wanted} of {len(truth)} test images; got shape {predictions.shape}")
    if metric == "minority_recall" and not len(classes):
        raise ValueError("minority_recall needs `classes`: the classes that it averages over")
    present = np.unique(truth)
    counted = np.array(sorted(classes), np.int64) if len(classes) else present
    missing = np.setdiff1d(counted, present)
    if len(missing):
        raise ValueError(f"no test image of the classes {missing.tolist()}")
    if metric == "macro_auc":
        return _auc(predictions.astype(np.float64), truth, present)
    if metric == "macro_f1":
        return _f1(predictions, truth, present)
    if metric == "worst_class_recall":
        return _worst(predictions, truth, counted)
    return _recall(predictions, truth, counted)


def balanced_weights(truth: Labels, classes: NDArray[np.int64]) -> Values:
    """1 / (K · n_c) for images of these K classes, 0 for others: (N,)."""
    weights = np.zeros(len(truth))
    for c in classes:
        weights[truth == c] = 1 / (len(classes) * (truth == c).sum())
    return weights


def _recall(predictions: Outputs, truth: Labels, classes: NDArray[np.int64]) -> Scored:
    """Mean recall over `classes`."""
    weights = balanced_weights(truth, classes)
    right = (predictions == truth).astype(np.float64)
    return Scored(right @ weights, right.mean(1) * weights, weights)


def _worst(predictions: Outputs, truth: Labels, classes: NDArray[np.int64]) -> Scored:
    """Recall of the class with the lowest, in each training; of several with the same, the one with the fewest images.

    The derivative is that of this class's recall: exact unless the order of classes changes with a single image.
    """
    counts = np.array([(truth == c).sum() for c in classes])
    by_size = classes[np.argsort(counts, kind="stable")]
    each = np.stack([balanced_weights(truth, np.array([c])) for c in by_size])  # (K,N)
    right = (predictions == truth).astype(np.float64)
    recalls = right @ each.T  # (G,R,K)
    worst = recalls.round(12).argmin(2)
    contributions = np.stack([(of_g * each[at]).mean(0) for of_g, at in zip(right, worst, strict=True)])
    often = np.bincount(worst.ravel(), minlength=len(classes)) / worst.size
    return Scored(recalls.min(2), contributions, often @ each)


def _f1(predictions: Outputs, truth: Labels, classes: NDArray[np.int64]) -> Scored:
    """Mean over classes of F1 = 2 TP / (n + P): n images and P predictions of the class.

    A right image of class c contributes 2 / (n + P); each prediction of c takes 2 TP / (n + P)².
    """
    k = int(max(truth.max(), predictions.max())) + 1
    images = np.bincount(truth, minlength=k)
    present = np.isin(np.arange(k), classes)

    def of_one(predicted: Labels) -> tuple[float, Values]:
        right = predicted == truth
        hits = np.bincount(truth[right], minlength=k)
        size = np.maximum(images + np.bincount(predicted, minlength=k), 1)
        f1 = 2 * hits / size
        change = 2 * right / size[truth] - (f1 / size * present)[predicted]
        return float(f1[present].mean()), change / len(classes)

    return _each(of_one, predictions, balanced_weights(truth, classes))


def _auc(probabilities: Values, truth: Labels, classes: NDArray[np.int64]) -> Scored:
    """Mean over classes of the area under the one-against-rest ROC curve; contributions of DeLong et al. (1988)."""
    if len(classes) < 2:
        raise ValueError("macro_auc needs test images of two classes")

    def of_one(probability: Values) -> tuple[float, Values]:
        area, change = 0.0, np.zeros(len(truth))
        for c in classes:
            inside = truth == c
            values, m, n = probability[:, c], int(inside.sum()), int((~inside).sum())
            ranks = stats.rankdata(values)
            above = (ranks[inside] - stats.rankdata(values[inside])) / n
            below = 1 - (ranks[~inside] - stats.rankdata(values[~inside])) / m
            area += float(above.mean())
            change[inside] += above / m
            change[~inside] += below / n
        return area / len(classes), change / len(classes)

    return _each(of_one, probabilities, balanced_weights(truth, classes))


def _each(of_one: Callable[[Any], tuple[float, Values]], predictions: Outputs, weights: Values) -> Scored:
    """Apply a function of one training's predictions, which returns the metric and its derivatives (N,), to all."""
    g, r, n = predictions.shape[:3]
    values, contributions = np.zeros((g, r)), np.zeros((g, n))
    for i in range(g):
        for j in range(r):
            values[i, j], change = of_one(predictions[i, j])
            contributions[i] += change / r
    return Scored(values, contributions, weights)
