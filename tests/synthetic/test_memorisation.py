"""What the memorisation figures say of generators whose ways are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from embeddings import embedded, gauss, painted
from scipy.spatial.distance import cdist
from scipy.stats import kstest, mannwhitneyu

from augpipe.synthetic import views
from augpipe.synthetic.fidelity import Compared, exchange, figures, memorisation, metrics
from augpipe.synthetic.fidelity.exchange import Space, exchange_test
from augpipe.synthetic.fidelity.memorisation import gallery

D = 24


@pytest.fixture
def quick(monkeypatch) -> None:
    """A tenth of the permutations: p in steps of .01."""
    monkeypatch.setattr(exchange, "PERMUTATIONS", 99)


Draw = Callable[[int], np.ndarray]


def drawing(seed: int) -> Draw:
    rng = np.random.default_rng(seed)
    return lambda n: rng.normal(size=(n, D)).astype(np.float32)


def p_of(made: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int = 0) -> float:
    return exchange_test([Space(made, train, held_out)], np.random.default_rng(seed))


def uniform(found: list[float]) -> None:
    """A small p no more often than chance has it (within three deviations), and of no other shape."""
    often = 0.05 + 3 * (0.05 * 0.95 / len(found)) ** 0.5
    assert np.mean(np.array(found) <= 0.05) <= often
    assert kstest(found, "uniform").pvalue > 1e-3


# No memory: p is of chance


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("shrunk", [1.0, 0.4], ids=["as real ones", "typical ones only"])
@pytest.mark.parametrize(("made", "train", "held_out"), [(60, 80, 80), (60, 300, 15), (60, 15, 300), (5, 40, 12)])
def test_p_is_uniform_where_nothing_is_memorised(made: int, train: int, held_out: int, shrunk: float) -> None:
    found = []
    for seed in range(150):
        draw = drawing(seed)
        found.append(p_of(shrunk * draw(made), draw(train), draw(held_out), seed))
    uniform(found)


def of_two_classes(seed: int, counts: dict[str, tuple[int, int]], apart: float = 6.0) -> dict[str, np.ndarray]:
    """Vectors and labels of each set; the second class lies apart."""
    draw = drawing(seed)
    found = {}
    for name, n in counts.items():
        labels = np.repeat([0, 1], n)
        found[name] = embedded(draw(sum(n)) + apart * labels[:, None], labels)
    return found


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "counts",
    [
        {"real": (15, 60), "synthetic": (40, 10), "train": (70, 20)},
        {"real": (60, 15), "synthetic": (40, 10), "train": (20, 70)},
    ],
    ids=["made as train", "made as held out"],
)
def test_p_is_uniform_where_classes_have_other_shares_in_train(counts: dict[str, tuple[int, int]]) -> None:
    """Where train is thinned, nearness to a class is not nearness to train."""
    found = {"features": [], "pixels": []}
    for seed in range(120):
        classes = memorisation.strata(Compared(**of_two_classes(seed, counts)))
        for name, values in found.items():
            values.append(exchange_test([of[name] for of in classes], np.random.default_rng(seed)))
    uniform(found["features"])
    uniform(found["pixels"])


@pytest.mark.usefixtures("quick")
def test_p_of_both_spaces_together_is_no_smaller_than_chance() -> None:
    """Bonferroni: at most a share of .05 has p of .05; within three deviations."""
    sizes = {"real": (20, 20), "synthetic": (20, 20), "train": (30, 30)}
    found = [memorisation.memorisation(Compared(**of_two_classes(seed, sizes), seed=seed)) for seed in range(100)]
    p = np.array([f["memorisation.p"] for f in found])
    assert (p <= 0.05).mean() <= 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5
    both = np.array([[f["memorisation.p_features"], f["memorisation.p_pixels"]] for f in found])
    np.testing.assert_allclose(p, np.minimum(1, 2 * both.min(1)))


# Memory


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.1])
def test_replayed_train_images_have_the_least_p_there_is(noise: float) -> None:
    draw = drawing(0)
    train, held_out = draw(100), draw(100)
    p = p_of(train + noise * draw(100), train, held_out)
    assert p == 1 / (exchange.PERMUTATIONS + 1)


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.1], ids=["exact", "nearly", "noisy"])
@pytest.mark.parametrize(("share", "d"), [(0.05, 24), (0.05, 192), (0.1, 24)])
def test_a_few_copies_among_independent_images_are_found(share: float, d: int, noise: float) -> None:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        made, train, held_out = (rng.normal(size=(200, d)).astype(np.float32) for _ in range(3))
        n = round(200 * share)
        made[:n] = train[:n] + noise * rng.normal(size=(n, d)).astype(np.float32)
        found.append(p_of(made, train, held_out))
    assert np.mean(np.array(found) <= 0.05) >= 0.8


def test_copies_are_the_more_found_the_nearer_they_are() -> None:
    """An exact copy is no weaker evidence than one a hair off."""
    p = {}
    for noise in (0.0, 1e-3, 1.0):
        found = []
        for seed in range(12):
            draw = drawing(seed)
            train, held_out, made, moved = draw(150), draw(150), draw(150), draw(6)
            made[:6] = train[:6] + noise * moved
            found.append(p_of(made, train, held_out))
        p[noise] = np.mean(found)
    assert p[0.0] <= p[1e-3] + 0.01 < p[1.0]


def test_images_between_two_train_images_are_told_from_independent_ones() -> None:
    draw = drawing(0)
    train, held_out = draw(120), draw(120)
    a, b = np.random.default_rng(1).integers(0, 120, (2, 120))
    assert p_of((train[a] + train[b]) / 2, train, held_out) <= 0.01
    other = draw(120)  # between images that the generator's train set does not hold
    assert p_of((other[a] + other[b]) / 2, train, held_out) > 0.05


def test_copies_of_held_out_images_are_not_copies_of_train() -> None:
    draw = drawing(0)
    train, held_out = draw(100), draw(100)
    assert p_of(held_out + 0.01, train, held_out) > 0.9


def test_copies_in_one_class_of_two_are_found() -> None:
    sets = of_two_classes(0, {"real": (80, 80), "synthetic": (60, 60), "train": (80, 80)})
    made = sets["synthetic"]
    made.vectors[60:] = sets["train"].vectors[80:140]
    made.images[60:] = sets["train"].images[80:140]
    found = memorisation.memorisation(Compared(**sets))
    assert found["memorisation.p"] == 2 / (exchange.PERMUTATIONS + 1)
    assert memorisation.near_copies(Compared(**sets))["memorisation.near_copies"] >= 0.5


@pytest.mark.parametrize("only", ["vectors", "images"])
def test_copies_in_one_space_alone_are_found(only: str) -> None:
    draw = drawing(0)
    vectors = {name: draw(90) for name in ("real", "synthetic", "train")}
    pictures = {name: painted(draw(90)) for name in vectors}
    (vectors if only == "vectors" else pictures)["synthetic"] = (vectors if only == "vectors" else pictures)["train"]
    found = memorisation.memorisation(
        Compared(**{name: embedded(vectors[name], images=pictures[name]) for name in vectors})
    )
    there, elsewhere = ("features", "pixels") if only == "vectors" else ("pixels", "features")
    assert found[f"memorisation.p_{there}"] == 1 / (exchange.PERMUTATIONS + 1)
    assert found[f"memorisation.p_{elsewhere}"] > 0.05
    assert found["memorisation.p"] == 2 / (exchange.PERMUTATIONS + 1)


@pytest.mark.usefixtures("quick")
def test_exact_copies_and_twins_give_figures() -> None:
    """Distances of 0 have no log: every set equal, half of it equal, or one image over and over."""
    x = gauss(30, D)
    half = np.concatenate([x[:15], gauss(15, D, seed=1)])
    one = np.ones((30, D), np.float32)
    for made, train, held_out in ((x, x, x), (x, x, half), (half, x, half), (one, one, one)):
        found = memorisation.memorisation(Compared(embedded(held_out), embedded(made), embedded(train)))
        assert np.isfinite(list(found.values())).all()


# The figures behind it


def one_class(seed: int, made: int, train: int, held_out: int) -> Compared:
    draw = drawing(seed)
    return Compared(embedded(draw(held_out)), embedded(draw(made)), embedded(draw(train)))


def smallest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return cdist(a.astype(np.float64), b.astype(np.float64)).min(1)


def test_nearer_and_membership_are_scipys_mann_whitney() -> None:
    c = one_class(3, 40, 70, 30)
    made, train, held = c.synthetic.vectors, c.train.vectors, c.real.vectors
    found = memorisation.memorisation(c)
    for name, a, b in (
        ("nearer", smallest(made, train), smallest(held, train)),
        ("membership", smallest(train, made), smallest(held, made)),
    ):
        test = mannwhitneyu(a, b, alternative="less", method="asymptotic", use_continuity=False)
        figure = "memorisation.nearer" if name == "nearer" else "memorisation.membership_auc"
        assert found[figure] == pytest.approx(1 - test.statistic / (len(a) * len(b)))
        assert found[f"memorisation.{name}_p"] == pytest.approx(test.pvalue, rel=1e-6)


def test_nearer_is_the_share_of_pairs_within_classes() -> None:
    c = Compared(**of_two_classes(5, {"real": (12, 9), "synthetic": (7, 15), "train": (20, 11)}))
    below = []
    for label in (0, 1):
        made, train, held = (s.of(label).vectors for s in (c.synthetic, c.train, c.real))
        a, b = smallest(made, train), smallest(held, train)
        below.append((a[:, None] < b[None]).ravel())
    found = memorisation.memorisation(c)["memorisation.nearer"]
    assert found == pytest.approx(np.concatenate(below).mean())


def test_p_over_classes_of_other_sizes_is_uniform() -> None:
    """Van Elteren's, of distances that do not differ."""
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        parts = [(rng.normal(at, 1, n), rng.normal(at, 1, m)) for at, n, m in ((0, 30, 9), (4, 6, 40))]
        found.append(memorisation._less(parts)[1])
    uniform(found)


def test_membership_tells_what_is_near_train_and_nearer_what_is_typical() -> None:
    c = one_class(0, 100, 100, 100)
    copies = Compared(c.real, embedded(c.train.vectors + 0.2 * gauss(100, D, seed=9)), c.train)
    found = memorisation.memorisation(copies)
    assert found["memorisation.membership_auc"] > 0.95 and found["memorisation.nearer"] > 0.95
    typical = Compared(c.real, embedded(0.3 * c.synthetic.vectors), c.train)
    found = memorisation.memorisation(typical)
    assert found["memorisation.nearer"] > 0.95  # Meehan et al.'s test takes it for a copier
    assert found["memorisation.membership_auc"] == pytest.approx(0.5, abs=0.15)
    assert found["memorisation.p"] > 0.05


BOTH = ("near_copies", "near_copies_features")


def test_one_in_a_hundred_independent_images_is_a_near_copy() -> None:
    found = [memorisation.near_copies(one_class(seed, 400, 200, 600)) for seed in range(8)]
    for name in BOTH:
        share = np.mean([f[f"memorisation.{name}"] for f in found])
        assert share == pytest.approx(0.01, abs=0.006)


@pytest.mark.parametrize(("classes", "held_out"), [(12, 10), (40, 3), (120, 1)])
@pytest.mark.parametrize("odd", [0, 1], ids=["narrow classes", "wide classes"])
def test_of_few_held_out_images_a_class_one_in_a_hundred_is_a_near_copy(classes: int, held_out: int, odd: int) -> None:
    """Every second class is four times as wide; only images of narrow, or of wide, classes are near train at all."""
    found = []
    for seed in range(12 if classes < 100 else 6):
        draw, sets = drawing(seed), {}
        for name, n in (("real", held_out), ("synthetic", 240 // classes), ("train", 20)):
            labels = np.repeat(np.arange(classes), n)
            vectors = draw(classes * n) * np.where(labels % 2, 1.0, 0.25)[:, None]
            if name == "synthetic":
                vectors[labels % 2 != odd] += 100
            sets[name] = embedded(vectors, labels, classes=classes)
        near = memorisation.near_copies(Compared(**sets))
        found.append(2 * near["memorisation.near_copies_features"])
    assert 0.001 < np.mean(found) < 0.02


def test_too_few_held_out_images_tell_no_near_copy() -> None:
    entry = metrics["memorisation.near_copies"]
    for n, given in ((98, False), (99, True)):
        told = figures(entry, one_class(0, 50, 60, n))
        assert [np.isfinite(told[f"memorisation.{name}"].value) for name in BOTH] == [given] * 2
        assert given or "needs 99 real images, has 98" in told["memorisation.near_copies"].note


def test_copies_are_near_copies_where_held_out_images_are_copies_themselves() -> None:
    c = one_class(0, 100, 120, 100)
    vectors = np.concatenate([c.train.vectors[:60], c.real.vectors[60:]])
    images = np.concatenate([c.train.images[:60], c.real.images[60:]])
    copier = embedded(c.train.vectors[:100], images=c.train.images[:100])
    found = memorisation.near_copies(Compared(embedded(vectors, images=images), copier, c.train))
    assert found == {f"memorisation.{name}": 1.0 for name in BOTH}


def test_copies_are_near_copies() -> None:
    c = one_class(0, 200, 200, 200)
    vectors, images = c.synthetic.vectors.copy(), c.synthetic.images.copy()
    vectors[:50], images[:50] = c.train.vectors[:50], c.train.images[:50]
    found = memorisation.near_copies(Compared(c.real, embedded(vectors, images=images), c.train))
    for name in BOTH:
        assert 0.25 <= found[f"memorisation.{name}"] < 0.3


def test_a_class_that_one_set_lacks_is_left_out() -> None:
    sets = of_two_classes(0, {"real": (30, 0), "synthetic": (30, 30), "train": (30, 30)})
    only = {name: s.of(0) for name, s in sets.items()}
    whole, alone = (memorisation.memorisation(Compared(**s)) for s in (sets, only))
    assert whole == alone


def test_the_statistic_is_that_of_all_distances() -> None:
    """Candidates hold both kinds, but for one image in 10,000."""
    draw = drawing(2)
    made, train, held_out = draw(50), draw(60), draw(40)
    space = Space(made, train, held_out)
    dealt = exchange.ClassTest(space, np.random.default_rng(0))
    members = exchange.Deals([space]).observed()[0]
    expected = np.log(smallest(made, held_out) / smallest(made, train)).sum()
    assert float(dealt.statistics(members[None])[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n", [80, 240])
def test_of_more_images_than_are_looked_at_a_part_is_drawn(monkeypatch, n: int) -> None:
    monkeypatch.setattr(exchange, "MOST", n // 2)
    c = one_class(0, 2 * n, n, n)
    vectors, images = c.synthetic.vectors.copy(), c.synthetic.images.copy()
    vectors[n:], images[n:] = c.train.vectors + 0.01, c.train.images
    half = Compared(c.real, embedded(vectors, images=images), c.train)
    assert memorisation.memorisation(half)["memorisation.p"] <= 0.01
    if n >= 2 * memorisation.FEWEST:
        near = memorisation.near_copies(half)
        assert list(near.values()) == pytest.approx([0.5, 0.5], abs=0.15)


# The gallery


def of_three_classes(seed: int) -> Compared:
    draw = drawing(seed)
    counts = {"real": (9, 14, 5), "synthetic": (12, 7, 20), "train": (11, 18, 6)}
    sets = {}
    for name, n in counts.items():
        labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], n))
        sets[name] = embedded(draw(sum(n)), labels, classes=3)
    return Compared(**sets)


def test_gallery_shows_the_nearest_of_the_class_most_suspicious_first() -> None:
    c = of_three_classes(0)
    rows = gallery(c, 1000)
    assert rows.shape == (len(c.synthetic), 3)
    assert sorted(rows[:, 0]) == list(range(len(c.synthetic)))
    ratios = []
    for made, train, held in rows:
        label = c.synthetic.labels[made]
        assert c.train.labels[train] == label == c.real.labels[held]
        own = c.synthetic.images[made : made + 1]
        to_train, to_held = (
            np.array([views.nearest(own, one[None])[0][0, 0] for one in others.images]) for others in (c.train, c.real)
        )
        assert to_train[train] == to_train[c.train.labels == label].min()
        assert to_held[held] == to_held[c.real.labels == label].min()
        ratios.append(to_train[train] / to_held[held])
    assert ratios == sorted(ratios)
    np.testing.assert_array_equal(gallery(c, 6), rows[:6])


def test_copies_come_first_in_the_gallery() -> None:
    c = of_three_classes(1)
    copied = np.flatnonzero(c.synthetic.labels == 1)[:4]
    of = np.flatnonzero(c.train.labels == 1)[[3, 0, 5, 9]]
    c.synthetic.images[copied] = c.train.images[of]
    rows = gallery(c, 4)
    assert dict(rows[:, :2].tolist()) == dict(zip(copied.tolist(), of.tolist(), strict=True))


def test_gallery_is_empty_where_there_is_nothing_to_compare() -> None:
    c = of_three_classes(0)
    assert gallery(Compared(c.real, c.synthetic), 5).shape == (0, 3)
    assert gallery(Compared(c.real.of(0), c.synthetic.of(1), c.train), 5).shape == (0, 3)


def test_a_class_that_one_set_lacks_is_not_in_the_gallery() -> None:
    c = of_three_classes(0)
    without = Compared(c.real.take(c.real.labels != 2), c.synthetic, c.train)
    assert set(c.synthetic.labels[gallery(without, 1000)[:, 0]]) == {0, 1}
