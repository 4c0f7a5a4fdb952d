"""Equal predictions of single classes: what their interval is, and where it counts."""

from __future__ import annotations

import numpy as np
import pytest
from outcomes import TRUTH, arm
from scipy import stats

from augpipe.comparison.decision import confirm_pair
from augpipe.comparison.paired import difference, newcombe
from augpipe.comparison.simultaneous import simultaneous
from augpipe.comparison.units import Units

UNITS = Units(TRUTH)


def test_without_a_hit_it_is_the_square_and_add_interval() -> None:
    """Of none right Wilson's upper limits alone count (scipy's), and of all right the same mirrored."""
    for n in (5, 20, 400):
        wilson = stats.binomtest(0, n).proportion_ci(0.95, method="wilson").high
        assert newcombe(0.0, n, 0.05) == pytest.approx(wilson)
        assert newcombe(1.0, n, 0.05) == pytest.approx(wilson)
    assert newcombe(0.0, 1000, 0.05) == pytest.approx(3.84 / 1000, rel=0.01)
    # 0 of 10 against 0 of 10, method 10: as published (Newcombe 1998, Table II).
    assert newcombe(0.0, 10, 0.05) == pytest.approx(0.2775, abs=5e-5)
    # Some right, the same by both: the pair is correlated, and the interval narrower than of two samples.
    low, high = stats.binomtest(30, 100).proportion_ci(0.95, method="wilson")
    apart = ((0.3 - low) ** 2 + (high - 0.3) ** 2) ** 0.5
    assert 0 < newcombe(0.3, 100, 0.05) < apart


def test_it_covers_as_often_as_it_says() -> None:
    """Two classifiers with a hit rate of 4% on 20 images:
    of the runs without any hit none is certain of no difference.
    """
    rng = np.random.default_rng(0)
    truly = rng.random((4000, 2)) * 0.2
    silent = (rng.random((4000, 2)) < (1 - truly) ** 20).all(1)
    gap = np.abs(truly[:, 0] - truly[:, 1])[silent]
    assert (gap <= newcombe(0.0, 20, 0.05)).mean() > 0.95


def test_a_class_that_neither_arm_hits_is_not_certain() -> None:
    """Alone, in a mean of several, and in a family; the metric over all classes is as before."""
    a, b = arm(0), arm(1)
    alone = difference(a, b, UNITS, classes=(1,), name="1")
    assert alone.interval(0.05) == pytest.approx((-100 * newcombe(0, 20, 0.05), 100 * newcombe(0, 20, 0.05)))
    assert alone.p == 1 and alone.alike == ((0.0, 20.0),)
    both = confirm_pair(a, b, TRUTH, metric="minority_recall", classes=(1, 2))
    each = (newcombe(0, 20, 0.05), newcombe(0, 12, 0.05))
    assert both.high == pytest.approx(50 * np.hypot(*each)) and both.decision == "undecided"
    family = [alone, difference(a, b, UNITS, classes=(0,), name="0"), difference(a, b, UNITS, name="all")]
    joint = simultaneous(family, UNITS)[0]
    assert joint.high > alone.interval(0.05)[1] and joint.low == -joint.high
    assert not family[2].alike and difference(a, arm(2, ()), UNITS, classes=(1,)).alike == ()
