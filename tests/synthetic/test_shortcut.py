"""The shortcut of origin: mutual information against scikit-learn's of planted labels, its limits, and the gate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from augpipe.core.errors import UserError
from augpipe.synthetic import gates
from augpipe.synthetic.fidelity import COLUMNS
from augpipe.synthetic.options import condition
from augpipe.synthetic.shortcut import Shortcut, mutual_information, shortcut, shortcut_of_counts, shortcut_row


def test_the_information_is_that_of_labels_drawn_so() -> None:
    real, synthetic = [900, 60, 40], [0, 240, 160]
    classes = np.repeat([0, 1, 2, 0, 1, 2], real + synthetic)
    origin = np.repeat([0, 1], [sum(real), sum(synthetic)])
    expected = mutual_info_score(classes, origin) / math.log(2)
    one = shortcut_of_counts(real, synthetic, 1.0)
    assert one.information == pytest.approx(expected) and one.bits == pytest.approx(expected)


def test_the_same_fraction_in_every_class_says_nothing_of_the_class() -> None:
    assert mutual_information([0.7, 0.2, 0.1], [0.3] * 3) == pytest.approx(0, abs=1e-12)
    assert shortcut_of_counts([10, 30], [0, 0], 1.0).bits == 0, "no synthetic images"
    assert mutual_information([0.5, 0.5], [0.0, 1.0]) == pytest.approx(1), "one class of each origin: a bit"


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_it_lies_between_0_and_1(parts: list[tuple[float, float]]) -> None:
    p, share = np.array(parts).T
    assert 0 <= mutual_information(p / p.sum(), share) <= 1


@pytest.mark.parametrize(("c2st", "detected"), [(0.5, 0), (0.4, 0), (0.75, 0.5), (1, 1)])
def test_origin_that_is_not_recognised_is_no_shortcut(c2st: float, detected: float) -> None:
    one = shortcut([0.5, 0.5], [0.0, 1.0], c2st)
    assert (one.detected, one.bits) == pytest.approx((detected, detected))


def test_the_row_is_one_of_a_fidelity_table_and_a_gate() -> None:
    table = shortcut_row(Shortcut(0.5, 0.2))
    assert tuple(table.columns) == COLUMNS
    assert gates.outcome("shortcut < 0.11", table).holds and not gates.outcome("shortcut < 0.09", table).holds
    missing = gates.outcome("shortcut < 0.11", shortcut_row(shortcut([1.0], [0.5], math.nan)))
    assert not missing.holds and missing.detail == "not given, needs c2st"
    assert gates.outcome("shortcut < 1", shortcut_row(None)).detail == "not given, no arm shows its images"
    with pytest.raises(UserError, match="leave `each` out"):
        condition("each shortcut < 0.1")
