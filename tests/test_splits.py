from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from augpipe.errors import UserError
from augpipe.splits import SplitOptions, stratified


@given(
    st.lists(st.integers(3, 300), min_size=2, max_size=6),
    st.floats(0.01, 0.6),
    st.floats(0.01, 0.39),
    st.integers(0, 99),
)
def test_no_overlap_nothing_lost_every_class_on_every_side(sizes, val, test, seed) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    options = SplitOptions(val=val, test=test)
    names = [str(c) for c in range(len(sizes))]
    rows = stratified(labels, names, options, np.random.default_rng(seed))
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(labels)))
    for part in rows.values():
        assert set(labels[part]) == set(range(len(sizes)))
    for c, n in enumerate(sizes):
        if n >= 20:
            assert (labels[rows["test"]] == c).sum() == pytest.approx(max(1, test * n), abs=1)
    again = stratified(labels, names, options, np.random.default_rng(seed))
    assert all(np.array_equal(rows[k], again[k]) for k in rows)


def test_a_class_too_small_is_named() -> None:
    with pytest.raises(
        UserError, match="class 'b' has 2 images; train, val and test need at least 3"
    ):
        stratified(
            np.array([0] * 5 + [1] * 2), ["a", "b"], SplitOptions(), np.random.default_rng(0)
        )


def test_shares_must_leave_room_for_train() -> None:
    with pytest.raises(ValidationError, match="leave nothing for train"):
        SplitOptions(val=0.5, test=0.5)
