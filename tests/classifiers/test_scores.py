from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassRecall,
    MulticlassSpecificity,
)

from augpipe.classifiers import scores


def random_case(n: int = 300, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=np.array([0.5, 0.25, 0.15, 0.07, 0.03])).astype(np.int64)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += 1
    return torch.softmax(torch.from_numpy(logits), 1).numpy().astype(np.float32), labels


def test_against_torchmetrics() -> None:
    p, y = random_case()
    tp, ty = torch.from_numpy(p), torch.from_numpy(y)
    for name, theirs in (
        ("macro_recall", MulticlassRecall(5, average="macro")),
        ("macro_f1", MulticlassF1Score(5, average="macro")),
        ("macro_auc", MulticlassAUROC(5, average="macro")),
        ("ece", MulticlassCalibrationError(5, n_bins=scores.ECE_BINS, norm="l1")),
    ):
        assert scores.metrics[name](p, y) == pytest.approx(float(theirs(tp, ty)), abs=1e-5), name
    assert scores.recall(p, y) == pytest.approx(MulticlassRecall(5, average=None)(tp, ty).numpy(), abs=1e-6)
    assert scores.specificity(p, y) == pytest.approx(MulticlassSpecificity(5, average=None)(tp, ty).numpy(), abs=1e-6)


def test_a_worked_example() -> None:
    p = np.eye(2)[[0, 0, 0, 1, 1, 0]].astype(np.float32)
    y = np.array([0, 0, 0, 0, 1, 1])
    assert scores.recall(p, y).tolist() == [0.75, 0.5]
    assert scores.macro_recall(p, y) == pytest.approx(0.625)
    assert scores.accuracy(p, y) == pytest.approx(4 / 6)
    assert scores.geometric_mean(p, y) == pytest.approx((0.75 * 0.5) ** 0.5)
    assert scores.specificity(p, y).tolist() == [0.5, 0.75]
    # all are said with a confidence of 1: the gap is the share that is wrong
    assert scores.ece(p, y) == pytest.approx(2 / 6)
    # precision 3/4 and 1/2, so F1 of 3/4 and 1/2
    assert scores.macro_f1(p, y) == pytest.approx(0.625)


def test_a_class_never_found_makes_the_geometric_mean_zero() -> None:
    p = np.eye(3)[[0, 1, 1]].astype(np.float32)
    assert scores.geometric_mean(p, np.array([0, 1, 2])) == 0


def test_the_table_is_tidy_with_class_names() -> None:
    p, y = random_case()
    names = ["a", "b,c", 'd"', "ü", "e"]
    table = scores.score(p, y, names, dict.fromkeys(range(5), 10))
    assert list(table.columns) == ["metric", "class", "value"]
    assert table[table.metric == "recall"]["class"].tolist() == names
    assert set(table[table["class"] == ""].metric) == set(scores.metrics)


def test_the_minority_is_what_train_has_fewer_of_than_an_even_share() -> None:
    assert scores.minority({0: 60, 1: 30, 2: 10}) == (1, 2)
    assert scores.minority({0: 40, 1: 30, 2: 30}) == (1, 2)
    assert scores.minority({0: 30, 1: 30}) == ()
    p, y = random_case()
    train = {0: 100, 1: 60, 2: 20, 3: 10, 4: 5}
    table = scores.score(p, y, list("abcde"), train).set_index(["metric", "class"])["value"]
    expected = np.mean([table["recall", name] for name in "cde"])
    assert table["minority_recall", ""] == pytest.approx(expected)
    even = scores.score(p, y, list("abcde"), dict.fromkeys(range(5), 10))
    assert "minority_recall" not in set(even.metric)
