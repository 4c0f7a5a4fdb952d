from __future__ import annotations

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
