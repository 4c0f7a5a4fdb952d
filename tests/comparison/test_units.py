"""What of a test set is drawn anew: images, or groups of them. How often verdicts are right by it: test_comparison."""

from __future__ import annotations

import numpy as np
import pytest

from augpipe.comparison.units import Units


def test_images_of_one_value_are_drawn_as_one_with_the_same_law() -> None:
    """Against images drawn one by one: quantiles of the means agree within what DRAWS of them vary."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [400, 60])
    values = rng.choice([-0.4, -0.2, 0.0, 0.2], p=[0.02, 0.05, 0.83, 0.1], size=460)
    found = Units(labels).draws(values, 2000, rng)
    one_by_one = np.zeros(20_000)
    for c in (0, 1):
        own = values[labels == c]
        drawn = own[rng.integers(0, len(own), (20_000, len(own)))].mean(1)
        one_by_one += (own.mean() + (drawn - own.mean()) * (len(own) / (len(own) - 1)) ** 0.5) / 2
    assert found.mean() == pytest.approx(one_by_one.mean(), abs=4 * found.std() / 2000**0.5)
    assert found.std() == pytest.approx(one_by_one.std(), rel=0.07)
    for q in (0.025, 0.5, 0.975):
        assert np.quantile(found, q) == pytest.approx(
            np.quantile(one_by_one, q), abs=0.2 * found.std()
        )


def test_the_variance_is_the_jackknifes() -> None:
    """Against leaving each group out, one after the other: means, their spread, their sum."""
    r = np.random.default_rng(3)
    patient = r.integers(0, 9, 70)
    labels = r.integers(0, 3, 70).astype(np.int64)
    values = r.normal(size=(2, 70))
    units = Units(labels, patient)

    def mean(keep: np.ndarray) -> np.ndarray:
        return np.mean([values[:, keep & (labels == c)].mean(1) for c in range(3)], 0)

    whole = mean(np.ones(70, bool))
    without = np.stack([mean(patient != g) for g in range(9)])
    assert pytest.approx(whole - without) == units.influence(values).T
    expected = 8 / 9 * ((without - without.mean(0)) ** 2).sum(0)
    assert units.variance(values) == pytest.approx(expected)
    drawn = units.draws(values[0], 20_000, np.random.default_rng(1))
    assert drawn.std() ** 2 == pytest.approx(expected[0], rel=0.05)


def test_names_of_groups_are_but_names_and_classes_of_one_group_have_no_spread() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1], dtype=np.int64)
    units = Units(labels, np.array(["b", "b", "a", "c", "x", "x"], dtype=object))
    assert units.of_class == pytest.approx({0: 16 / 6, 1: 1})
    assert units.grouped and units.least == 1 and not Units(labels).grouped
    same = units.variance(np.array([[0.0, 0, 0, 0, 1, 0]]))
    assert same == pytest.approx(0)  # the only group of its class: nothing is known of its luck
    assert Units(np.zeros(0, np.int64)).least == 0
