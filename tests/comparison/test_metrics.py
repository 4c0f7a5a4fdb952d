"""Metrics of trainings against scikit-learn; their dependence on each image against numerical derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from augpipe.comparison.metrics import score
from augpipe.comparison.units import Units

TRUTH = np.repeat([0, 1, 2], [20, 12, 7]).astype(np.int64)


def probabilities(seed: int = 0, g: int = 2, r: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = rng.random((g, r, len(TRUTH), 3)).round(2) + 0.5 * (TRUTH[:, None] == np.arange(3))
    return raw / raw.sum(-1, keepdims=True)


def recalls(truth: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return sk.recall_score(truth, outputs.argmax(1), average=None, sample_weight=weights)


REFERENCES: dict[str, Callable[..., float]] = {
    "macro_recall": lambda y, p, w: recalls(y, p, w).mean(),
    "minority_recall": lambda y, p, w: recalls(y, p, w)[[1, 2]].mean(),
    "worst_class_recall": lambda y, p, w: recalls(y, p, w).min(),
    "macro_f1": lambda y, p, w: sk.f1_score(y, p.argmax(1), average="macro", sample_weight=w),
    "macro_auc": lambda y, p, w: np.mean([sk.roc_auc_score(y == c, p[:, c], sample_weight=w) for c in range(3)]),
}


@pytest.mark.parametrize("metric", list(REFERENCES))
def test_values_and_derivatives_are_those_of_scikit_learn(metric: str) -> None:
    p, reference = probabilities(), REFERENCES[metric]
    classes = (1, 2) if metric == "minority_recall" else ()
    outputs = p if metric == "macro_auc" else p.argmax(-1).astype(np.uint8)
    scored = score(outputs, TRUTH, metric, classes)  # type: ignore[arg-type]
    assert scored.values == pytest.approx(np.array([[reference(TRUTH, one, None) for one in of_g] for of_g in p]))

    def derivative(i: int) -> float:
        ends = []
        for step in (1e-4, -1e-4):
            weights = np.ones(len(TRUTH))
            weights[i] += step
            ends.append(np.mean([reference(TRUTH, one, weights) for one in p[0]]))
        return (ends[0] - ends[1]) / 2e-4

    for label in range(3):  # images are drawn within their class: only differences within it count
        rows = np.flatnonzero(label == TRUTH)[:4]
        expected = np.array([derivative(i) for i in rows])
        actual = scored.contributions[0, rows]
        assert actual - actual[0] == pytest.approx(expected - expected[0], abs=1e-6)


def test_the_variance_of_an_area_is_delongs() -> None:
    """Two classes, against the placements of every pair (DeLong, DeLong & Clarke-Pearson 1988, eq. 4-6)."""
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], [30, 11]).astype(np.int64)
    first = (rng.random(41) - 0.3 * truth).round(1)  # with ties
    outputs = np.stack([first, -first], -1)[None, None]
    scored = score(outputs, truth, "macro_auc")
    a, b = first[truth == 0], first[truth == 1]
    kernel = (a[:, None] > b) + 0.5 * (a[:, None] == b)
    expected = kernel.mean(1).var(ddof=1) / len(a) + kernel.mean(0).var(ddof=1) / len(b)
    assert scored.values[0, 0] == pytest.approx(kernel.mean())
    units = Units(truth)
    assert units.variance_of(units.gather(scored.contributions))[0] == pytest.approx(expected)


def test_one_class_and_ties_of_the_worst() -> None:
    truth = np.repeat([0, 1], [4, 2]).astype(np.int64)
    outputs = np.array([[[0, 0, 1, 1, 1, 0]]])
    assert score(outputs, truth, classes=(1,)).values.item() == 0.5
    worst = score(outputs, truth, "worst_class_recall")  # both have .5: the smaller class counts
    assert worst.values.item() == 0.5 and worst.weights.tolist() == [0, 0, 0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    "shape, metric, classes, message",
    [
        ((1, 1, 39), "accuracy", (), "unknown metric 'accuracy'; have macro_recall"),
        ((1, 39), "macro_recall", (), r"needs \(G, R, N\) classes of 39 test images; got .*\(1, 39\)"),
        ((1, 1, 39), "macro_auc", (), r"needs \(G, R, N, K\) probabilities"),
        ((1, 1, 39), "minority_recall", (), "needs `classes`"),
        ((1, 1, 39), "macro_recall", (0, 7), r"no test image of the classes \[7\]"),
    ],
)
def test_what_does_not_fit_is_named(
    shape: tuple[int, ...], metric: str, classes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(np.zeros(shape, np.uint8), TRUTH, metric, classes)  # type: ignore[arg-type]
