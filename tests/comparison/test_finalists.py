"""Which two arms go into the confirm stage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augpipe.comparison.finalists import Finalists, finalists

GENERATIVE = {"real": False, "classic": False, "smote": False, "cgan": True, "acgan": True}


def test_the_best_of_each_kind_by_val() -> None:
    val = {"real": 0.5, "classic": 0.7, "smote": 0.6, "cgan": 0.65, "acgan": 0.66}
    pair = finalists(val, GENERATIVE)
    assert pair == Finalists("acgan", "classic") and pair.missing == ""


def test_ties_go_to_the_first_listed() -> None:
    val = {"smote": 0.5, "acgan": 0.5, "classic": 0.5, "cgan": 0.5}
    assert finalists(val, GENERATIVE) == Finalists("acgan", "smote")


@pytest.mark.parametrize(
    ("names", "pair", "message"),
    [
        (("real", "smote"), Finalists(None, "real"), "no arm was trained with images of"),
        (("cgan",), Finalists("cgan", None), "every arm uses a trained generator"),
    ],
)
def test_without_a_pair_it_says_why(names: tuple[str, ...], pair: Finalists, message: str) -> None:
    result = finalists(dict.fromkeys(names, 0.5), GENERATIVE)
    assert result == pair and message in result.missing


@given(st.dictionaries(st.sampled_from(list(GENERATIVE)), st.floats(0, 1), min_size=1))
def test_no_arm_of_its_kind_is_better(val: dict[str, float]) -> None:
    pair = finalists(val, GENERATIVE)
    for winner, kind in ((pair.contender, True), (pair.rival, False)):
        scores = [score for arm, score in val.items() if GENERATIVE[arm] == kind]
        assert (winner is None) == (not scores)
        assert winner is None or val[winner] == max(scores)
