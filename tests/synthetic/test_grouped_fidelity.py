"""Tests of p-values for images that come in groups: photographs of a person resemble each other."""

from __future__ import annotations

import numpy as np
import pytest
from embeddings import embedded

from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared, exchange, figures, from_classifiers, memorisation, metrics

D, EACH = 8, 6


def people(seed: int, n: int, first: int = 0, groups: bool = True, shift: float = 0) -> Embedded:
    """EACH photographs of each of n people of one class; a person's differ by a fifth of what people differ by."""
    r = np.random.default_rng([seed, first])
    vectors = np.repeat(r.normal(shift, 1, (n, D)), EACH, 0) + 0.2 * r.normal(size=(n * EACH, D))
    names = np.array([f"p{first + k // EACH}" for k in range(n * EACH)], dtype=object)
    return embedded(vectors, groups=names if groups else None)


def innocent(seed: int, groups: bool) -> Compared:
    """Photographs of people who are neither in train nor held out."""
    return Compared(people(seed, 8, 100, groups), people(seed, 6, 200, groups), people(seed, 14, 0, groups))


def often(found: list[float]) -> float:
    return float(np.mean(np.array(found) <= 0.05))


def test_p_is_of_chance_where_whole_people_are_in_train_or_held_out(monkeypatch) -> None:
    monkeypatch.setattr(exchange, "PERMUTATIONS", 99)
    p = {True: [], False: []}
    for groups, deals in ((True, 80), (False, 20)):
        for seed in range(deals):
            spaces = [of["features"] for of in memorisation.strata(innocent(seed, groups))]
            p[groups].append(exchange.exchange_test(spaces, np.random.default_rng(seed)))
    assert often(p[True]) <= 0.05 + 3 * (0.05 * 0.95 / 80) ** 0.5
    assert often(p[False]) > 0.3  # as if the photographs had been dealt singly


@pytest.mark.parametrize("copies", [9, 36])
def test_copies_of_people_in_train_are_found(copies: int) -> None:
    c = innocent(0, groups=True)
    vectors, images = c.synthetic.vectors.copy(), c.synthetic.images.copy()
    rows = np.arange(0, len(c.train), len(c.train) // copies)[:copies]
    vectors[:copies], images[:copies] = c.train.vectors[rows], c.train.images[rows]
    copier = Compared(c.real, embedded(vectors, images=images), c.train)
    assert memorisation.memorisation(copier)["memorisation.p"] <= 0.02


def test_p_of_too_few_groups_and_those_that_need_independent_images_have_a_reason() -> None:
    """Of 5 and 3 people there are 56 divisions, of 7 and 3 there are 120, of 7 and 4 there are 330."""
    for train, held_out, ways in ((5, 3, 56), (7, 3, 120), (7, 4, 0)):
        c = Compared(people(0, held_out, 100), people(0, 8, 200, False), people(0, train))
        found = figures(metrics["memorisation.p"], c)
        assert np.isfinite(found["memorisation.p"].value) == (not ways)
        assert np.isfinite(found["memorisation.membership_auc"].value)
        assert "have groups" in found["memorisation.membership_p"].note
        if ways:
            assert found["memorisation.p"].note == (
                f"needs 200 ways to divide the groups of train and val, has {ways} with {train + held_out} groups"
            )


def test_images_of_a_group_on_both_sides_are_exchanged_alone() -> None:
    train, held_out = people(0, 4), people(0, 4)  # the same people in both
    assert len(set(exchange.real_units(train, held_out).tolist())) == 8 * EACH
    other = people(0, 4, first=2)  # two of four
    assert len(set(exchange.real_units(train, other).tolist())) == 4 + 4 * EACH


def test_groups_change_places_within_their_classes_and_in_all_of_them() -> None:
    """People with images in one of two classes, or in both; in each class their number in train stays."""
    units = [np.array([0, 0, 2, 3, 4, 8]), np.array([2, 5, 6, 7, 7, 4])]
    spaces = [exchange.Space(np.empty(0), np.empty(3), np.empty(3), of) for of in units]
    deals = exchange.Deals(spaces)
    assert deals.grouped and deals.n == 8
    # 0 against 3 and 8; 2 against 4, which have both classes; 5 and 6 against 7: 3, 2 and 3 ways.
    rng, seen = np.random.default_rng(0), set()
    np.testing.assert_array_equal(deals.observed(), [[True] * 3 + [False] * 3] * 2)
    for a, b in zip(*deals.drawn(rng, 200), strict=True):
        assert a[0] == a[1] and b[3] == b[4]
        assert (a[2], a[4]) == (b[0], b[5]) and a[2] != a[4]
        assert a[[0, 3, 5]].sum() == 1 and b[[1, 2, 3]].sum() == 2
        seen.add((*a.tolist(), *b.tolist()))
    assert len(seen) == round(deals.ways) == 3 * 2 * 3


def test_the_two_sample_test_rejects_people_of_the_same_law_by_chance_only() -> None:
    p = {
        groups: [
            from_classifiers.c2st(Compared(people(s, 24, 0, groups), people(s, 24, 200, groups)))["c2st_p"]
            for s in range(deals)
        ]
        for groups, deals in ((True, 40), (False, 8))
    }
    assert often(p[True]) <= 0.05 + 3 * (0.05 * 0.95 / 40) ** 0.5
    assert often(p[False]) > 0.5
    # Of another law, also without groups on one side.
    found = [
        from_classifiers.c2st(Compared(people(s, 24), people(s, 24, 200, s % 2 == 0, shift=1)))["c2st_p"]
        for s in range(6)
    ]
    assert often(found) >= 0.9


def test_the_two_sample_test_needs_groups() -> None:
    found = figures(metrics["c2st"], Compared(people(0, 9), people(0, 24, 200)))
    assert found["c2st_p"].note == "needs 10 groups of real images, has 9"
