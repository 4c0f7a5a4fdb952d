"""What of a test set is drawn anew: images, or groups of them. How often verdicts are right by it: test_comparison."""

from __future__ import annotations

import numpy as np
import pytest

from augpipe.comparison.units import Units


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
    covariance = units.covariance_of(units.influence(values))
    assert np.diag(covariance) == pytest.approx(expected)
    both = units.variance((values[0] + values[1])[None])[0]
    assert covariance[0, 1] == covariance[1, 0] == pytest.approx((both - expected.sum()) / 2)
    # The second and third moment of the resampled mean, from its characteristic function and from draws of it.
    step = 0.1 / expected[0] ** 0.5
    at = units.characteristic(values[0], np.array([step, 2 * step]))
    assert (2 - 2 * at[0].real) / step**2 == pytest.approx(expected[0], rel=0.01)
    deviations = 8**0.5 / 3 * (whole - without)[:, 0]
    drawn = deviations[r.integers(0, 9, (200_000, 9))].sum(1) - 9 * deviations.mean()
    assert at == pytest.approx(np.exp(1j * np.outer([step, 2 * step], drawn)).mean(1), abs=0.005)


def test_names_of_groups_are_but_names_and_classes_of_one_group_have_no_spread() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1], dtype=np.int64)
    units = Units(labels, np.array(["b", "b", "a", "c", "x", "x"], dtype=object))
    assert units.of_class == pytest.approx({0: 16 / 6, 1: 1})
    assert units.grouped and units.least == 1 and not Units(labels).grouped
    same = units.variance(np.array([[0.0, 0, 0, 0, 1, 0]]))
    assert same == pytest.approx(0)  # the only group of its class: nothing is known of its luck
    assert Units(np.zeros(0, np.int64)).least == 0
