"""Whether a source can be split, and the most images that train can get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.core.errors import UserError
from augpipe.data.options import SplitOptions
from augpipe.data.split import k_fold, split
from augpipe.data.split_check import most_train


def test_a_class_of_too_few_groups_is_named() -> None:
    groups = np.array(["a", "a", "b", "b", "c", "d", "e", "f"], object)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    with pytest.raises(UserError, match="class 'x' has 2 groups; train, val, test need at least 3"):
        split(labels, ["x", "y"], SplitOptions(kind="grouped"), np.random.default_rng(0), groups=groups)


@pytest.mark.parametrize(
    ("kind", "message"), [("official", "the source has no split"), ("grouped", "the source has no groups")]
)
def test_kinds_that_the_source_cannot_give(kind: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split(np.arange(9) % 2, ("0", "1"), SplitOptions(kind=kind), np.random.default_rng(0))


def test_an_official_split_that_lacks_a_class_is_refused() -> None:
    labels = np.array([0, 1, 0, 1, 0, 0])
    official = np.repeat(["train", "val", "test"], 2).astype(object)
    with pytest.raises(UserError, match="the official test of the source has no image of class '1'"):
        split(labels, ("0", "1"), SplitOptions(), np.random.default_rng(0), official=official)
    lacking = np.repeat(["train", "test"], [2, 4]).astype(object)
    with pytest.raises(UserError, match="the official train of the source has no image of class '1'"):
        split(np.array([0, 0, 0, 1, 0, 1]), ("0", "1"), SplitOptions(), np.random.default_rng(0), official=lacking)
    with pytest.raises(UserError, match="has no train"):
        split(labels, ("0", "1"), SplitOptions(), np.random.default_rng(0), official=np.full(6, "test", object))


@pytest.mark.parametrize("n", [1, 2])
def test_a_class_too_small_is_named(n: int) -> None:
    image = "image" if n == 1 else "images"
    with pytest.raises(UserError, match=f"class 'b' has {n} {image}; train, val and test need at least 3"):
        split(np.array([0] * 5 + [1] * n), ["a", "b"], SplitOptions(), np.random.default_rng(0))
    with pytest.raises(UserError, match=f"class 'b' has {n} images; 5 folds need at least 5"):
        k_fold(np.array([0] * 9 + [1] * n), ["a", "b"], SplitOptions(), np.random.default_rng(0))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(3, 40), min_size=2, max_size=4),
    groups=st.sampled_from([None, 1, 2]),
    kind=st.sampled_from(["auto", "stratified", "k_fold"]),
    official=st.sampled_from([None, ("train",), ("train", "train", "test")]),
    val=st.floats(0.05, 0.5),
    seed=st.integers(0, 99),
)
def test_no_split_leaves_more_in_train_than_predicted(
    sizes: list[int], groups: int | None, kind: Any, official: tuple[str, ...] | None, val: float, seed: int
) -> None:
    """Nor with some pictures missing, which cannot be read. Where a split is drawn, it was called possible."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    classes = [str(c) for c in range(len(sizes))]
    patients = None if groups is None else np.array([f"g{i // groups}" for i in range(sum(sizes))], object)
    splits = None if official is None else np.array([official[i % len(official)] for i in range(sum(sizes))], object)
    options = SplitOptions(kind=kind, folds=3) if kind == "k_fold" else SplitOptions(kind=kind, val=val, test=0.3)
    rng = np.random.default_rng(seed)
    usable = np.sort(rng.permutation(sum(sizes))[: max(1, round(0.95 * sum(sizes)))])

    def columns(rows: np.ndarray) -> dict[str, Any]:
        return {
            "groups": None if patients is None else patients[rows],
            "official": None if splits is None else splits[rows],
        }

    try:
        _, rows = split(labels[usable], classes, options, rng, **columns(usable))
    except UserError:
        return
    every = np.arange(len(labels))
    most = most_train(labels, classes, options, **columns(every))
    train = np.bincount(labels[usable][rows["train"]], minlength=len(sizes))
    assert all(n <= most[label] for label, n in enumerate(train))
