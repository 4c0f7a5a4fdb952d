from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from augpipe.classifiers import plans
from augpipe.core.errors import UserError
from augpipe.data import imbalance
from augpipe.data import split as splits
from augpipe.data.options import SplitOptions
from augpipe.data.split import k_fold, split, stratified
from augpipe.data.split_check import NAMES

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
sizes_of = st.lists(st.integers(3, 300), min_size=2, max_size=6)


def names(n: int) -> list[str]:
    return [str(c) for c in range(n)]


def whole(rows: dict[str, np.ndarray], n: int) -> bool:
    return sorted(np.concatenate(list(rows.values())).tolist()) == list(range(n))


@given(sizes_of, st.floats(0.01, 0.6), st.floats(0.01, 0.39), st.integers(0, 99))
def test_no_overlap_nothing_lost_every_class_on_every_side(sizes, val, test, seed) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    shares = {"train": 1 - val - test, "val": val, "test": test}
    rows = stratified(labels, names(len(sizes)), shares, np.random.default_rng(seed))
    assert whole(rows, len(labels))
    for part in rows.values():
        assert set(labels[part]) == set(range(len(sizes)))
    for c, n in enumerate(sizes):
        if n >= 20:
            assert (labels[rows["test"]] == c).sum() == pytest.approx(max(1, test * n), abs=1)
    again = stratified(labels, names(len(sizes)), shares, np.random.default_rng(seed))
    assert all(np.array_equal(rows[k], again[k]) for k in rows)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 4), st.integers(10, 60), st.booleans(), st.integers(0, 999))
def test_no_group_stands_on_two_sides(k: int, n_groups: int, mixed: bool, seed: int) -> None:
    """Groups of one class or of several, of uneven sizes."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), rng.integers(1, 9, n_groups))
    labels = rng.integers(0, k, len(group)) if mixed else (group % k)
    groups = np.array([f"p{g}" for g in group], object)
    per_class = [len(set(groups[labels == c])) for c in range(k)]
    assume(min(per_class) >= (9 if mixed else 3))
    kind, rows = split(labels, names(k), SplitOptions(), np.random.default_rng(seed), groups=groups)
    assert kind == "grouped" and whole(rows, len(labels))
    sides = [set(groups[rows[name]]) for name in NAMES]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    for name in NAMES:
        assert set(labels[rows[name]]) == set(range(k))
    again = split(labels, names(k), SplitOptions(), np.random.default_rng(seed), groups=groups)[1]
    assert all(np.array_equal(rows[name], again[name]) for name in NAMES)


def test_shares_are_met_as_far_as_groups_allow() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(300), rng.integers(1, 12, 300))
    labels = np.where(rng.random(300) < 0.2, 1, 0)[group]
    groups = group.astype(str).astype(object)
    rows = split(labels, names(2), SplitOptions(val=0.15, test=0.25), rng, groups=groups)[1]
    for c in (0, 1):
        n = (labels == c).sum()
        assert (labels[rows["val"]] == c).sum() / n == pytest.approx(0.15, abs=0.01)
        assert (labels[rows["test"]] == c).sum() / n == pytest.approx(0.25, abs=0.01)


def test_groups_that_cannot_be_parted_are_told() -> None:
    # a, b, c lie apart for x; so d lies with c for y; then z, in a, c and d, is on two sides at most.
    holds = {"a": "xyz", "b": "xy", "c": "xz", "d": "yz"}
    groups = np.array([g for g, classes in holds.items() for _ in classes], object)
    labels = np.array(["xyz".index(c) for classes in holds.values() for c in classes])
    with pytest.raises(UserError, match="no grouped split has every class in each of"):
        split(labels, ["x", "y", "z"], SplitOptions(kind="grouped"), np.random.default_rng(0), groups=groups)
    easy = np.array(["a", "a", "b", "b", "c", "c"], object)
    options = SplitOptions(kind="grouped")
    rows = split(np.array([0, 1] * 3), ["x", "y"], options, np.random.default_rng(0), groups=easy)[1]
    assert [len(rows[n]) for n in NAMES] == [2, 2, 2]


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 6), st.booleans(), st.integers(0, 99))
def test_every_image_is_test_in_one_fold(folds: int, by_group: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [70, 40, 24])
    groups = (np.arange(134) // 2).astype(str).astype(object) if by_group else None
    tests, vals = [], []
    for fold in range(folds):
        options = SplitOptions(kind="k_fold", folds=folds, fold=fold)
        rows = k_fold(labels, names(3), options, np.random.default_rng(seed), groups)
        assert whole(rows, 134)
        tests.append(rows["test"])
        vals.append(rows["val"])
        for name in NAMES:
            assert set(labels[rows[name]]) == {0, 1, 2}
        if groups is not None:
            assert not set(groups[rows["test"]]) & set(groups[rows["train"]])
    assert sorted(np.concatenate(tests).tolist()) == list(range(134))
    assert all(np.array_equal(vals[f], tests[(f + 1) % folds]) for f in range(folds))
    sizes = [len(rows) for rows in tests]
    assert max(sizes) - min(sizes) <= (6 if by_group else 3), rng


def official_of(*sides: tuple[str, int]) -> np.ndarray:
    return np.array([name for name, n in sides for _ in range(n)], object)


def test_the_sources_own_split_and_what_it_lacks() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    own = official_of(("train", 60), ("val", 20), ("test", 20))
    kind, rows = split(labels, names(2), SplitOptions(), rng, official=own)
    assert kind == "official" and rows["val"].tolist() == list(range(60, 80))
    own = official_of(("train", 80), ("test", 20))
    rows = split(labels, names(2), SplitOptions(val=0.25), rng, official=own)[1]
    assert rows["test"].tolist() == list(range(80, 100))
    assert len(rows["val"]) == 20 and rows["val"].max() < 80 and whole(rows, 100)
    groups = (np.arange(100) // 4).astype(str).astype(object)
    rows = split(labels, names(2), SplitOptions(), rng, official=own, groups=groups)[1]
    assert not set(groups[rows["val"]]) & set(groups[rows["train"]])
    rows = split(labels, names(2), SplitOptions(), rng, official=official_of(("train", 100)))[1]
    assert [len(rows[n]) for n in NAMES] == [60, 20, 20]
    assert split(labels, names(2), SplitOptions(kind="stratified"), rng, official=own)[0] == "stratified"


@pytest.mark.parametrize(
    ("values", "told"),
    [({"val": 0.5, "test": 0.5}, "leave no images for train"), ({"fold": 5}, "fold 5 of 5; choose from 0 to 4")],
)
def test_options_that_make_no_sense(values: dict[str, float], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SplitOptions(**values)


@settings(deadline=None, max_examples=50)
@given(sizes_of, st.integers(0, 99), st.data())
def test_thinned_and_filled_up_again_is_balanced(sizes, seed, data) -> None:
    """plan(profile(...)) balances, and only train is thinned."""
    k = len(sizes)
    labels = np.repeat(np.arange(k), sizes)
    rows = stratified(labels, names(k), SHARES, np.random.default_rng(seed))
    profile = data.draw(
        st.sampled_from(
            [
                imbalance.Natural(profile="natural"),
                imbalance.LongTail(profile="long_tail", factor=20),
                imbalance.Step(profile="step", classes=("0",), keep=0.3),
                imbalance.Drop(profile="drop", drop_class="1", percent=60),
            ]
        )
    )
    train = labels[rows["train"]]
    have = {c: int((train == c).sum()) for c in range(k)}
    kept = imbalance.thin(train, profile.target(have, names(k)), np.random.default_rng(seed))
    again = imbalance.thin(train, profile.target(have, names(k)), np.random.default_rng(seed))
    assert np.array_equal(kept, again) and len(set(kept.tolist())) == len(kept)
    left = {c: int((train[kept] == c).sum()) for c in range(k)}
    made = plans.plan("auto", left, names(k))
    assert {left[c] + made.get(c, 0) for c in range(k)} == {max(left.values())}
    assert sum(len(part) for part in rows.values()) == len(labels)


def test_many_groups_take_seconds() -> None:
    import time

    groups = (np.arange(60_000) // 3).astype(str).astype(object)
    begun = time.perf_counter()
    splits.split(np.arange(60_000) // 3 % 4, names(4), SplitOptions(), np.random.default_rng(0), groups=groups)
    assert time.perf_counter() - begun < 20
