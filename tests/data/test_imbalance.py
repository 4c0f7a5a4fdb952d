from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augpipe.core.errors import UserError
from augpipe.data import imbalance

many = st.lists(st.integers(1, 400), min_size=2, max_size=8)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"k{i}" for i in range(n))


def test_long_tail_is_the_exponential_of_its_paper() -> None:
    have = dict.fromkeys(range(10), 5000)
    made = imbalance.LongTail(profile="long_tail", factor=100).target(have, names(10))
    assert made[0] == 5000 and made[9] == 50
    assert made[4] == round(5000 * 100 ** (-4 / 9))


def test_drop_is_bagans() -> None:
    made = imbalance.Drop(profile="drop", drop_class="k1", percent=95).target({0: 100, 1: 100}, names(2))
    assert made == {0: 100, 1: 5}


def test_counts_are_of_the_named_classes_alone() -> None:
    profile = imbalance.Explicit(profile="counts", counts={"k0": 3, "k2": 5})
    assert profile.target({0: 10, 1: 7, 2: 5}, names(3)) == {0: 3, 1: 7, 2: 5}


def test_more_than_there_are_is_refused() -> None:
    profile = imbalance.Explicit(profile="counts", counts={"k0": 11})
    with pytest.raises(UserError, match="'k0' has 10 training images, fewer than the 11"):
        profile.target({0: 10}, names(1))


@given(many, st.integers(0, 2**32), st.data())
def test_thin_keeps_so_many_of_each_and_none_twice(sizes: list[int], seed: int, data: st.DataObject) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    target = {c: data.draw(st.integers(1, n)) for c, n in enumerate(sizes)}
    rows = imbalance.thin(labels, target, np.random.default_rng(seed))
    assert len(set(rows.tolist())) == len(rows)
    assert Counter(labels[rows].tolist()) == target
    assert np.array_equal(rows, imbalance.thin(labels, target, np.random.default_rng(seed)))
