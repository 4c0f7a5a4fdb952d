"""The benchmark of the verdicts plants what it says."""

from __future__ import annotations

import numpy as np
import pytest
from bench_calibration import confirmed, drawn_anew, planted, told

from augpipe.comparison.bootstrap import macro_recall

LABELS = np.repeat(np.arange(4), [400, 100, 100, 200]).astype(np.int64)


@pytest.mark.parametrize("points", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("level", [0.6, 0.96])
def test_as_many_points_are_planted_as_are_named(points: float, level: float) -> None:
    rng = np.random.default_rng(0)
    right = rng.random((400, len(LABELS))) < level
    fewer = planted(right, LABELS, points, rng)
    assert not (fewer & ~right).any()
    fallen = 100 * (macro_recall(right, LABELS) - macro_recall(fewer, LABELS))
    assert fallen.mean() == pytest.approx(points, rel=0.06)
    assert fallen.std() > points / 4  # a third of itself between seeds, and the luck of images


def test_of_two_groups_of_one_law_few_are_told_apart_and_of_a_planted_gain_most() -> None:
    right = np.random.default_rng(1).random((12, len(LABELS))) < 0.9
    none, much = (told(right, LABELS, 5, points, 60) for points in (0.0, 5.0))
    assert none["better"] + none["worse"] <= 0.12 and none["covered"] >= 0.85
    assert much["better"] >= 0.8 and much["covered"] >= 0.85 and much["worse"] == 0
    none, much = (confirmed(right, LABELS, 5, points, 60) for points in (0.0, 5.0))
    assert none["better"] + none["worse"] <= 0.12 and none["covered"] >= 0.85 and none["trained"] == 5
    assert much["better"] >= 0.8 and much["covered"] >= 0.85 and much["worse"] == much["equivalent"] == 0


def test_images_are_drawn_within_their_class() -> None:
    rows = drawn_anew(LABELS, np.random.default_rng(0))
    assert np.array_equal(np.bincount(LABELS[rows]), np.bincount(LABELS))
    assert len(np.unique(rows)) < len(rows)
