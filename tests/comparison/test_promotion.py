"""Which of two fixed models is in service: by what test shows, on images that neither has seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from augpipe.comparison.options import Promotion
from augpipe.comparison.promotion import decision, fingerprints, unseen
from augpipe.comparison.units import Units
from augpipe.core.images import ImageSet

BETTER, NOT_WORSE = Promotion(), Promotion(rule="not worse", margin=0.05)
LABELS = np.repeat(np.arange(4), 50)


def judge(champion, challenger, labels, options, groups=None):
    """Of images that each stand for themselves, where no groups are given."""
    return decision(champion, challenger, Units(labels, groups), options)


def guesses(rng: np.random.Generator, right: float) -> NDArray[np.int64]:
    """A model that is right with that probability, each image for itself."""
    wrong = (LABELS + rng.integers(1, 4, len(LABELS))) % 4
    return np.where(rng.random(len(LABELS)) < right, LABELS, wrong)


def test_a_model_against_itself_is_not_better_and_not_worse() -> None:
    said = guesses(np.random.default_rng(0), 0.8)
    for options, promote in ((BETTER, False), (NOT_WORSE, True)):
        found = judge(said, said, LABELS, options)
        assert found.promote is promote and found.interval is not None
        assert found.interval.mean == found.interval.high == 0
        assert -0.05 < found.interval.low < 0


def test_the_gain_is_that_of_macro_recall() -> None:
    champion = np.zeros_like(LABELS)  # right on one class of four
    found = judge(champion, LABELS, LABELS, BETTER)
    assert found.promote and found.interval is not None and found.interval.mean == pytest.approx(0.75)
    assert "+75.0 points" in found.reason and "200 test images" in found.reason
    back = judge(LABELS, champion, LABELS, NOT_WORSE)
    assert not back.promote and "not shown to be not worse by 5 points" in back.reason


def test_equal_models_seldom_take_over() -> None:
    """Of two models of one law, the 95% interval lies above 0 in some 2.5% of cases: at most 5% here, of 400."""
    rng = np.random.default_rng(7)
    took = sum(judge(guesses(rng, 0.8), guesses(rng, 0.8), LABELS, BETTER).promote for _ in range(400))
    assert took <= 20, took


def test_images_of_one_patient_count_as_one() -> None:
    """Two models of one law that are both right or wrong on all of a patient's images take over no more often."""
    rng, labels = np.random.default_rng(9), np.repeat(np.arange(2), 200)
    groups = np.arange(400) // 20
    took = alone = 0
    for _ in range(200):
        said = [labels ^ np.repeat(rng.random(20) < 0.3, 20) for _ in range(2)]
        took += judge(*said, labels, BETTER, groups).promote
        alone += judge(*said, labels, BETTER).promote
    assert took <= 12 < alone, (took, alone)
    few = judge(labels, labels, labels, NOT_WORSE, np.arange(400) // 50)
    assert not few.promote and "4 groups in the smallest class" in few.reason


def test_a_truly_better_model_mostly_takes_over() -> None:
    rng = np.random.default_rng(8)
    took = sum(judge(guesses(rng, 0.7), guesses(rng, 0.9), LABELS, BETTER).promote for _ in range(100))
    assert took >= 95, took


@pytest.mark.parametrize(("classes", "n", "right"), [(2, 5, 0.95), (2, 20, 0.98), (10, 5, 0.98), (2, 100, 0.985)])
def test_hardly_different_models_are_not_taken_for_equal(classes: int, n: int, right: float) -> None:
    """A perfect champion against a challenger that is worse by more than the margin, on few images."""
    labels, rng = np.repeat(np.arange(classes), n), np.random.default_rng(3)
    margin = Promotion(rule="not worse", margin=0.01)
    took = 0
    for _ in range(300):
        said = np.where(rng.random(len(labels)) < right, labels, (labels + 1) % classes)
        found = judge(labels, said, labels, margin)
        took += found.promote
    assert took <= 15, took
    if n == 5:
        assert "which so few test images cannot show" in found.reason


def test_a_few_images_of_one_class_are_no_evidence() -> None:
    """Three discordant pairs, all one way: an exact McNemar test gives p = .25."""
    labels = np.repeat(np.arange(2), 5)
    champion = labels.copy()
    champion[:3] = 1
    for options in (BETTER, Promotion(rule="not worse", margin=0.01)):
        assert not judge(champion, labels, labels, options).promote


def test_enough_images_can_show_a_margin() -> None:
    labels = np.repeat(np.arange(4), 300)
    found = judge(labels, labels, labels, Promotion(rule="not worse", margin=0.01))
    assert found.promote and "cannot show" not in found.reason


@pytest.mark.parametrize("n", [0, 4])
def test_too_few_images_promote_nothing(n: int) -> None:
    labels = np.repeat(np.arange(2), n)
    found = judge(1 - labels, labels, labels, NOT_WORSE)
    assert not found.promote and found.interval is None
    assert f"{n} test image" in found.reason and "at least 5" in found.reason


def test_what_a_model_has_seen_is_left_out(make_shapes: Callable[..., ImageSet]) -> None:
    old, new = make_shapes((6, 6), seed=1), make_shapes((6, 6), seed=2)
    assert len(unseen(old, fingerprints(old))) == 0
    assert unseen(new, fingerprints(old)).tolist() == list(range(12))
    # By pixels: another name does not make it another image.
    twin = ImageSet(old.images[3:6], old.labels[3:6], old.classes, new.table.iloc[3:6].reset_index(drop=True))
    assert unseen(old, fingerprints(twin)).tolist() == [0, 1, 2, *range(6, 12)]
