from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.utils import check_sampling_strategy

from augpipe.classifiers import plans
from augpipe.core.errors import UserError
from augpipe.data import imbalance

many = st.lists(st.integers(1, 400), min_size=2, max_size=8)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"k{i}" for i in range(n))


@given(
    many.filter(lambda n: len(set(n)) == len(n)),
    st.sampled_from(["minority", "not minority", "not majority", "all", "auto"]),
)
@settings(deadline=None)
def test_words_mean_what_imbalanced_learn_means(sizes: list[int], word: str) -> None:
    have = dict(enumerate(sizes))
    y = np.repeat(np.arange(len(sizes)), sizes)
    theirs = {int(c): int(n) for c, n in check_sampling_strategy(word, y, "over-sampling").items() if n}
    assert plans.plan(word, have, names(len(sizes))) == theirs


@given(many, st.floats(0.01, 1))
def test_a_share_brings_every_class_to_it(sizes: list[int], share: float) -> None:
    have = dict(enumerate(sizes))
    made = plans.plan(share, have, names(len(sizes)))
    for c, n in have.items():
        assert n + made.get(c, 0) == max(n, round(share * max(sizes)))


@given(many)
def test_auto_balances_any_profile(sizes: list[int]) -> None:
    have = dict(enumerate(sizes))
    for profile in (
        imbalance.LongTail(profile="long_tail", factor=50),
        imbalance.Step(profile="step", classes=("k0",), keep=0.1),
        imbalance.Drop(profile="drop", drop_class="k1", percent=97.5),
    ):
        thinned = profile.target(have, names(len(sizes)))
        assert all(1 <= thinned[c] <= have[c] for c in have)
        made = plans.plan("auto", thinned, names(len(sizes)))
        assert len({n + made.get(c, 0) for c, n in thinned.items()}) == 1


def test_numbers_per_class() -> None:
    have = {0: 10, 1: 3}
    assert plans.plan(5, have, ("a", "b")) == {0: 5, 1: 5}
    assert plans.plan({"b": 7}, have, ("a", "b")) == {1: 7}
    assert plans.plan({"b": 0}, have, ("a", "b")) == {}
    assert plans.plan(np.int64(5), have, ("a", "b")) == {0: 5, 1: 5}  # type: ignore[arg-type]
    numpy = {"b": np.int64(7)}
    assert plans.plan(numpy, have, ("a", "b")) == {1: 7}  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["most", -3, {"b": -1}, {"x": 1}, {7: 1, "7": 2}, 1.5, 0.0, True])
def test_what_is_no_fill_is_refused(bad: object) -> None:
    with pytest.raises(UserError):
        plans.plan(bad, {0: 10, 1: 3}, ("a", "b"))  # type: ignore[arg-type]


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
