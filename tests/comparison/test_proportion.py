from __future__ import annotations

import pytest
from scipy import stats

from augpipe.comparison.proportion import wilson


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (7, 12), (40, 61)])
def test_the_interval_is_wilsons(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_proportion_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)
