"""Recall by groups of test images against scikit-learn on each group alone, fairlearn's definitions,
and fresh test sets.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from augpipe.comparison.paired import difference, newcombe
from augpipe.comparison.simultaneous import simultaneous
from augpipe.comparison.subgroups import GAP, WORST, Subgroups
from augpipe.comparison.units import Units


def sample(seed: int, spread: float = 0.0) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Labels, values and the outputs (4,2,N) of two arms; group b is harder, and some images have no value."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), [40, 30, 20]).astype(np.int64)
    values = rng.choice(np.array(["a", "a", "b", ""], object), len(labels))
    rate = np.where(values == "b", 0.6, 0.85)
    arms = []
    for _ in range(2):
        of = rate + spread * rng.normal(size=(4, 1, 1))
        right = rng.random((4, 2, len(labels))) < of
        arms.append(np.where(right, labels, (labels + 1) % 3))
    return labels, values, arms


def test_values_are_those_of_each_group_alone() -> None:
    """Worst group and gap: fairlearn's group_min and difference(method="between_groups")
    of each training's predictions.
    """
    labels, values, arms = sample(0)
    groups = Subgroups(labels, None, values)
    assert groups.names == ("a", "b") and groups.counts.sum() == (values != "").sum()
    by_arm = [
        np.array(
            [
                [[balanced_accuracy_score(labels[values == v], one[values == v]) for v in "ab"] for one in of_g]
                for of_g in arm
            ]
        )
        for arm in arms
    ]
    a, b, worst, gap = groups.differences(*arms, prefix="sex = ")
    assert [d.name for d in (a, b, worst, gap)] == ["sex = a", "sex = b", f"sex = {WORST}", f"sex = {GAP}"]
    first, second = by_arm
    for at, one in enumerate((a, b)):
        assert one.values == pytest.approx(100 * (first - second)[..., at])
        mask = values == "ab"[at]
        alone = difference(arms[0][..., mask], arms[1][..., mask], Units(labels[mask]))
        assert (one.mean, one.error, one.df) == pytest.approx((alone.mean, alone.error, alone.df), rel=1e-6)
    assert worst.values == pytest.approx(100 * (first.min(2) - second.min(2)))
    spread = [recalls.max(2) - recalls.min(2) for recalls in by_arm]
    assert gap.values == pytest.approx(100 * (spread[0] - spread[1]))
    assert len(simultaneous([a, b, worst, gap], groups.units)) == 4


def test_standard_errors_are_the_spread_of_fresh_test_sets() -> None:
    drawn = []
    for seed in range(150):
        labels, values, arms = sample(seed, 0.03)
        drawn.append(Subgroups(labels, None, values).differences(*arms))
    for at in range(4):
        means, errors = zip(*((one[at].mean, one[at].error) for one in drawn), strict=True)
        assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(means), rel=0.2)
        covered = np.mean([np.prod(one[at].interval(0.05)) < 0 for one in drawn])
        assert covered > 0.9


def test_images_of_a_patient_count_together_and_a_group_without_hits_is_not_certain() -> None:
    labels, values, arms = sample(1)
    patients = np.arange(len(labels)) // 5
    alone, together = (Subgroups(labels, of, values).differences(*arms)[0] for of in (None, patients))
    assert together.values == pytest.approx(alone.values) and together.of_test < alone.of_test
    missed = [np.where(values == "b", (labels + 1) % 3, of) for of in arms]
    b = Subgroups(labels, None, values).differences(*missed)[1]
    counts = np.bincount(labels[values == "b"])
    half = 100 * np.hypot(np.hypot(*(newcombe(0, n, 0.05) for n in counts[:2])), newcombe(0, counts[2], 0.05)) / 3
    assert b.mean == 0 and b.interval(0.05) == pytest.approx((-half, half))
