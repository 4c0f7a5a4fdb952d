"""Each metric against an independent reference or its definition in plain loops; the table they stand in."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from embeddings import embedded, gauss, painted, sides
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.synthetic import fidelity
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared, exchange, pixels
from augpipe.synthetic.fidelity.base import Metric


def test_class_kid_sees_swapped_classes() -> None:
    labels = np.repeat([0, 1], 30)
    real = embedded(np.concatenate([gauss(30, 4), gauss(30, 4, 5, seed=1)]), labels)
    good = embedded(np.concatenate([gauss(30, 4, seed=2), gauss(30, 4, 5, seed=3)]), labels)
    swapped = Embedded(good.vectors, good.probabilities, 1 - good.labels, good.images)
    assert fidelity.kid(real, swapped) == pytest.approx(fidelity.kid(real, good))
    assert fidelity.class_kid(real, swapped) > 100 * abs(fidelity.class_kid(real, good))


def test_a_class_with_one_real_image_still_orders_generators() -> None:
    one, many = np.repeat([0, 1], [1, 30]), np.repeat([0, 1], 20)
    real = embedded(np.concatenate([gauss(1, 4), gauss(30, 4, 5, seed=1)]), one)
    near = embedded(np.concatenate([gauss(20, 4, seed=2), gauss(20, 4, 5, seed=3)]), many)
    far = embedded(np.concatenate([gauss(20, 4, 9, seed=2), gauss(20, 4, 5, seed=3)]), many)
    assert fidelity.class_kid(real, near) < fidelity.class_kid(real, far)


def test_table_says_what_it_stands_on_and_refuses_too_few() -> None:
    real = embedded(gauss(23, 4), np.repeat([0, 1], [20, 3]))
    made = embedded(gauss(40, 4, seed=1), np.repeat([0, 1], 20), wrong=0.25)
    table = fidelity.measure(Compared(real, made), ("a", "b"))
    assert tuple(table.columns) == fidelity.COLUMNS
    assert table["class"].unique().tolist() == ["", "a", "b"]
    for _, part in table.groupby("class"):
        assert tuple(part.metric) == fidelity.names()
    found = table.set_index(["class", "metric"])
    assert found.value["", "agreement"] == 0.75 and found.value["a", "agreement"] == 0.5
    sizes = found[["n_real", "n_synthetic"]]
    assert {tuple(row) for row in sizes.loc[""].to_numpy()} == {(23, 40)}
    assert {tuple(row) for row in sizes.loc["b"].to_numpy()} == {(3, 20)}
    assert np.isfinite(found.value["a", "kid"]) and found.note["a", "kid"] == ""
    assert np.isnan(found.value["b", "kid"])
    assert found.note["b", "kid"] == "needs 5 real images, has 3"
    assert found.note["", "fid"] == "needs 50 real images, has 23"
    assert found.note["", "memorisation.p"] == "needs train images, has none"


def test_table_of_a_class_without_synthetic_or_real_images() -> None:
    real, made = embedded(gauss(20, 4)), embedded(gauss(20, 4), np.ones(20, np.int64))
    found = fidelity.measure(Compared(real, made, real), ("a", "b")).set_index(["class", "metric"])
    assert found.note["a", "kid"] == "needs 5 synthetic images, has 0"
    assert found.note["b", "kid"] == "needs 5 real images, has 0"
    assert found.value[["a", "b"]].isna().all()
    assert found.note["", "memorisation.p"] == "needs 10 real images, has 0"


def test_class_figures_are_those_of_the_class_alone() -> None:
    labels = np.repeat([0, 1], 40)
    real, made, train = (embedded(gauss(80, 4, seed=s), labels) for s in range(3))
    whole = fidelity.measure(Compared(real, made, train, 3), ("a", "b"))
    alone = fidelity.measure(Compared(*(s.take(labels == 1) for s in (real, made, train)), 3), ())
    np.testing.assert_array_equal(whole[whole["class"] == "b"].value, alone.value)


def test_the_same_comparison_gives_the_same_table_and_another_seed_others() -> None:
    c = sides(60, 50)[2]
    first, again, other = (
        fidelity.measure(Compared(copy.copy(c.real), c.synthetic, c.real, seed), ("a",)) for seed in (0, 0, 1)
    )
    assert first.equals(again)
    differ = first.metric[(first.value != other.value) & first.value.notna()]
    assert "kid_spread" in set(differ) and "fid" not in set(differ)


def test_every_figure_has_one_name() -> None:
    assert len(set(fidelity.names())) == len(fidelity.names())


def drawn(kind: str, n: int, seed: int) -> Embedded:
    """`alike`: of one distribution; `apart`: synthetic ones far away; `same`: one image over and over."""
    if kind == "same":
        return embedded(np.ones((n, 3), np.float32))
    return embedded(gauss(n, 3, 50.0 * (kind == "apart" and seed == 1), seed=seed))


@pytest.mark.parametrize("kind", ["alike", "apart", "same"])
@pytest.mark.parametrize("name", list(fidelity.metrics))
def test_a_metric_gives_a_figure_or_a_word_whatever_the_sizes(name: str, kind: str, monkeypatch) -> None:
    monkeypatch.setattr(pixels, "PAIRS", 20)
    monkeypatch.setattr(exchange, "PERMUTATIONS", 99)
    entry: Metric = fidelity.metrics[name]
    uneven = (1, 2, 4, 5, 6, 9, 10, 19, 20)
    for real, made in [(n, n) for n in (*range(1, 31), 60)] + [pair for n in uneven for pair in ((n, 30), (30, n))]:
        for train in (None, drawn(kind, 1, 2), drawn(kind, made, 2)):
            c = Compared(drawn(kind, real, 0), drawn(kind, made, 1), train)
            found = fidelity.figures(entry, c)
            assert tuple(found) == entry.gives
            unmet = min(real, made) < entry.least or (entry.needs_train and train is None)
            for told in found.values():
                assert math.isfinite(told.value) or told.note
                assert not unmet or (math.isnan(told.value) and "needs" in told.note)


@pytest.mark.parametrize("name", [n for n in fidelity.metrics if n not in ("lpips", "ms_ssim")])
def test_a_metric_is_given_from_its_least_number_of_images_on(name: str) -> None:
    entry = fidelity.metrics[name]
    real, made, train = entry.least_real, entry.least, entry.least
    c = Compared(*(drawn("alike", n, s) for s, n in enumerate((real, made, train))))
    for told in fidelity.figures(entry, c).values():
        assert math.isfinite(told.value)


of_classes = st.tuples(*[st.integers(0, 14)] * 3)


@settings(deadline=None, max_examples=25)
@given(of_classes, of_classes, of_classes)
def test_any_classes_of_any_sizes_give_figures_or_words(real, made, train) -> None:
    """Classes that one of the sets lacks, or has one image of."""
    sets = [
        embedded(gauss(sum(n), 3, seed=s), np.repeat(np.arange(3), n), classes=3)
        for s, n in enumerate((real, made, train))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "PAIRS", 5)
        patch.setattr(exchange, "PERMUTATIONS", 19)
        table = fidelity.measure(Compared(*sets), ("a", "b", "c"))
    assert len(table) == 4 * len(fidelity.names())
    assert (np.isfinite(table.value) | (table.note != "")).all()
    for label, name in enumerate("abc"):
        part = table[table["class"] == name]
        assert set(part.n_real) == {real[label]} and set(part.n_synthetic) == {made[label]}


def test_overall_only_the_classes_that_were_made_are_compared() -> None:
    """Images of one class of three, as real ones are: nothing is missing of it."""
    labels = np.repeat(np.arange(3), 60)
    real, train = (embedded(gauss(180, 4, seed=s) + 20 * labels[:, None], labels, classes=3) for s in (0, 1))
    made = embedded(gauss(60, 4, seed=2) + 20, np.full(60, 1), classes=3)
    table = fidelity.measure(Compared(real, made, train), ("a", "b", "c"))
    overall, own = (table[table["class"] == name].set_index("metric") for name in ("", "b"))
    assert set(overall.n_real) == {60} and overall.value["coverage"] > 0.7
    assert overall.value["kid"] == pytest.approx(own.value["kid"])
    assert set(table[table["class"] == "a"].n_real) == {60}
    lacking = fidelity.measure(Compared(real.of(0), made, train), ("a", "b", "c"))
    assert lacking.value.isna().all() and set(lacking.n_real[lacking["class"] == ""]) == {0}


def test_an_empty_train_set_is_no_train_set() -> None:
    own = drawn("alike", 20, 0)
    found = fidelity.figures(fidelity.metrics["memorisation.p"], Compared(own, own, own.of(1)))
    assert {told.note for told in found.values()} == {"needs train images, has none"}


def test_pictures_of_vectors_are_as_near_as_they() -> None:
    """What the other tests' images stand on."""
    v = gauss(3, 4)
    v[1] = v[0] + 0.05
    near, far = (
        np.abs(a.astype(int) - b).mean() for a, b in ((painted(v)[0], painted(v)[1]), (painted(v)[0], painted(v)[2]))
    )
    assert 0 < near < far / 5
