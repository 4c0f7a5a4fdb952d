"""Counts and class names that a user writes."""

from __future__ import annotations

import numpy as np
import pytest

from augpipe.core.counts import label_of, parse_classes, parse_counts
from augpipe.core.errors import UserError

CLASSES = ("0", "a,b", "c=d")


@pytest.mark.parametrize(
    ("texts", "counts"),
    [
        (["0=5"], {0: 5}),
        (["0=5, c=d=2"], {0: 5, 2: 2}),
        (["a,b=3"], {1: 3}),
        (["0=1", "a,b=3"], {0: 1, 1: 3}),
        (["4"], {0: 4, 1: 4, 2: 4}),
    ],
)
def test_counts_name_classes(texts: list[str], counts: dict[int, int]) -> None:
    assert parse_counts(texts, CLASSES) == counts


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1=5"], "unknown class '1'.*choose from 0, a,b, c=d"),
        (["0=many"], "'0=many' is not CLASS=NUMBER or a number"),
        (["0=-1"], "'0=-1' is not CLASS=NUMBER"),
        (["0=1,0=2"], "names class '0' twice"),
        (["0=1", "2"], "names class '0' twice"),
        (["0"], "asks for no image"),
        ([""], "'' is not CLASS=NUMBER"),
    ],
)
def test_other_counts_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_counts(texts, CLASSES)


def test_counts_of_some_rows(make_shapes) -> None:
    assert make_shapes((3, 4)).counts(np.array([0, 5, 6])) == {0: 1, 1: 2}


def test_a_misspelt_class_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown class 'catt' \(did you mean 'cat'\?\); choose from cat, dog"):
        label_of("catt", ("cat", "dog"))


def test_classes_by_name_in_the_order_written() -> None:
    assert parse_classes([], CLASSES) == [0, 1, 2]
    assert parse_classes(["c=d, 0", "a,b"], CLASSES) == [2, 0, 1]
    with pytest.raises(UserError, match="--classes names class '0' twice"):
        parse_classes(["0", "c=d,0"], CLASSES)
    with pytest.raises(UserError, match="unknown class '1'; choose from 0, a,b, c=d"):
        parse_classes(["1"], CLASSES)
