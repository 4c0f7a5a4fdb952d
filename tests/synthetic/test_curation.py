"""Checks with features and probabilities made by hand, so that every answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.pipeline import experiment as config
from augpipe.synthetic import curation
from augpipe.synthetic.curation import CheckResult, Curator, Reference, checks
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.options import Curation

LIMITS = ("confident", "real_enough", "twin_limits", "dull")


def embedded(
    labels: list[int] | NDArray[np.int64],
    vectors: NDArray[np.floating] | None = None,
    images: NDArray[np.uint8] | None = None,
    sure: NDArray[np.floating] | None = None,
    classes: int = 2,
    seed: int = 0,
) -> Embedded:
    """What is not given is noise; `sure`: probability of the own class, the rest shared by the others."""
    rng = np.random.default_rng(seed)
    y = np.asarray(labels, np.int64)
    n = len(y)
    p = np.full(n, 0.9) if sure is None else np.asarray(sure)
    probabilities = np.repeat(((1 - p) / (classes - 1))[:, None], classes, 1)
    probabilities[np.arange(n), y] = p
    return Embedded(
        (rng.normal(size=(n, 8)) if vectors is None else vectors).astype(np.float32),
        probabilities.astype(np.float32),
        y,
        rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8) if images is None else images,
    )


def contrasts(values: list[int]) -> NDArray[np.uint8]:
    """Half of each image is 0, half of it the value: its standard deviation is half the value."""
    images = np.zeros((len(values), 1, 4, 4), np.uint8)
    images[:, :, :2] = np.array(values, np.uint8)[:, None, None, None]
    return images


def steps(values: list[int]) -> NDArray[np.uint8]:
    """Images that differ in one pixel alone: their distance is that of the values."""
    images = np.zeros((len(values), 1, 4, 4), np.uint8)
    images[:, 0, 0, 0] = values
    return images


def grey(values: list[int]) -> NDArray[np.uint8]:
    """Images of one grey each, which are the same when shifted or mirrored."""
    return np.repeat(np.array(values, np.uint8), 16).reshape(-1, 1, 4, 4)


def judged(name: str, real: Reference, made: Embedded, kept: Embedded | None = None) -> CheckResult:
    return checks[name](real, made, made.take(np.empty(0, np.int64)) if kept is None else kept)


def test_blank_is_less_than_half_the_least_contrast_of_the_class() -> None:
    # The flattest of class 0 has a standard deviation of 40, that of class 1 of 10.
    labels = np.repeat([0, 1], 25)
    train = embedded(labels, images=contrasts([80] + [200] * 24 + [20] + [100] * 24))
    real = Reference(train, train, 0.05)
    made = embedded([0, 0, 0, 1, 1, 1], images=contrasts([40, 38, 0, 10, 8, 0]))
    found = judged("blank", real, made)
    assert found.values.tolist() == [20, 19, 0, 5, 4, 0]
    assert found.keep.tolist() == [True, False, False, True, False, False]


def test_a_small_class_has_the_threshold_of_all_classes_together() -> None:
    images = contrasts([80] * 30 + [20] * 19)
    train = embedded(np.repeat([0, 1, 2], [30, 19, 0]), images=images, classes=3)
    assert Reference(train, train, 0.05).dull.tolist() == [20, 5, 5]
    full = embedded(np.repeat([0, 1], [30, 20]), images=contrasts([80] * 20 + [40] * 30))
    assert Reference(full, full, 0.05).dull.tolist() == [10, 10]
    assert Reference(full.take(np.arange(49)), full, 0.05).dull.tolist() == [10, 10]


def test_agreement_asks_what_all_but_reject_of_val_reach_that_is_seen_right() -> None:
    # Of 21 values, a step of 1/64 apart, 5% lie below the second: 35/64. Those seen wrong do not count.
    right, wrong = np.arange(34, 55) / 64, np.full(10, 1 / 64)
    surer = np.arange(43, 64) / 64  # of class 1; the second is 44/64
    val = embedded(np.repeat([0, 1], [31, 21]), sure=np.concatenate([right, wrong, surer]))
    real = Reference(val, val, 0.05)
    assert real.confident == pytest.approx([35 / 64, 44 / 64], abs=1e-6)
    made = embedded([0, 0, 0, 1, 1], sure=np.array([34.5, 35.5, 64, 43.5, 44.5]) / 64)
    assert judged("agreement", real, made).keep.tolist() == [False, True, True, False, True]
    # A share of 30% lies below the seventh.
    assert Reference(val, val, 0.3).confident[0] == pytest.approx(40 / 64, abs=1e-6)


def test_agreement_pools_classes_of_few_images_seen_right() -> None:
    # 19 of class 1 are seen right and 5 are not: together with the 20 of class 0 they set its threshold.
    sure = np.concatenate([np.full(20, 0.8), np.full(19, 0.6), np.full(5, 0.1)])
    val = embedded(np.repeat([0, 1], [20, 24]), sure=sure)
    found = Reference(val, val, 0.5).confident
    assert found == pytest.approx([0.8, 0.8]) and np.median(sure[:39]) == 0.8


def test_an_image_seen_as_another_class_never_agrees() -> None:
    # Val itself is never seen right: no probability is too small, and yet the class must be the likeliest.
    val = embedded([0] * 30 + [1] * 30, sure=np.full(60, 0.2))
    made = embedded([0, 1, 0, 1], sure=np.array([0.49, 0.3, 0.51, 0.99]))
    found = judged("agreement", Reference(val, val, 0.05), made)
    assert found.keep.tolist() == [False, False, True, True]


def claims(of_first: list[float], of_second: list[float], n_first: int = 0, n_second: int = 0) -> Embedded:
    """Val images taken for class 0, with these probabilities: its own, and class 1's; with n of a class in all."""
    more = max(0, n_first - len(of_first)), max(0, n_second - len(of_second))
    first = [*of_first, *[0.1] * more[0]]
    second = [*(1 - np.array(of_second)), *[0.9] * more[1]]
    return embedded(np.repeat([0, 1], [len(first), len(second)]), sure=np.array([*first, *second]))


def test_agreement_asks_for_a_probability_from_which_a_share_of_val_is_of_the_class() -> None:
    # From .8 on: 48 of class 0 and 2 of class 1, of 80 images each: .96. Below .8 come 2 more of class 1: .92.
    own, other = [0.95] * 24 + [0.8] * 24, [0.85] * 2 + [0.75] * 2
    val = claims(own, other, 80, 80)
    real = Reference(val, val, 0.05, 0.95)
    assert real.pure[0] == pytest.approx(0.8)
    assert Reference(val, val, 0.05, 0.96).pure[0] == pytest.approx(0.8), "just as much is enough"
    assert Reference(val, val, 0.05, 0.97).pure[0] == pytest.approx(0.95)
    assert Reference(val, val, 0.05, 0.9).pure[0] == pytest.approx(0.75)
    assert (Reference(val, val, 0.05).pure == 0).all()
    made = embedded([0] * 4, sure=np.array([0.7, 0.79, 0.81, 0.99]))
    assert judged("agreement", real, made).keep.tolist() == [False, False, True, True]


def test_purity_weighs_classes_alike_however_many_images_they_have() -> None:
    # Four of class 1 beside 48: 8%. With ten times as many images of class 1 in val each stands for a tenth: .8%.
    for n_second, expected in ((80, 0.8), (800, 0.75)):
        val = claims([0.95] * 24 + [0.8] * 24, [0.85] * 2 + [0.75] * 2, 80, n_second)
        assert Reference(val, val, 0.05, 0.95).pure[0] == pytest.approx(expected)


def test_where_none_is_pure_enough_the_purest_of_twenty_are_asked_for() -> None:
    # From .9: 20 of 23, the most; from .7: 30 of 43. The surest 5 alone are all right, but they are five.
    val = claims([0.99] * 5 + [0.9] * 15 + [0.7] * 10, [0.95] + [0.9] * 2 + [0.7] * 10, 40, 40)
    assert Reference(val, val, 0.05, 0.99).pure[0] == pytest.approx(0.9)


def test_a_class_that_few_are_rightly_taken_for_has_the_purity_of_all_together() -> None:
    # 19 of class 0 alone would ask for .6; with 30 of class 1, seen more surely, and a mistake between, for .9.
    val = claims([0.6] * 19, [0.7], 19, 31)
    assert Reference(val, val, 0.05, 0.99).pure[0] == pytest.approx(0.9)
    alone = claims([0.6] * 20, [], 20, 30)
    assert Reference(alone, alone, 0.05, 0.99).pure[0] == pytest.approx(0.6)


def test_a_purity_that_no_check_asks_for_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"purity 0\.9 needs the check 'agreement'"):
        Curation(checks=("blank",), purity=0.9)


@pytest.mark.parametrize("gap", [19, 20, 21])
def test_as_near_as_the_limit_is_a_copy(gap: int) -> None:
    """Every fresh image of val lies 20 grey levels from train: no nearer than that is an image that is kept."""
    train = embedded([0] * 2, line(0, 1000), grey([0, 0]))
    val = embedded([0] * 30, line(*[50.0] * 30), grey([20] * 30))
    made = embedded([0], line(500), grey([gap]))
    found = judged("copies", Reference(train, val, 0.05), made)
    assert found.values[0] == pytest.approx(gap / 20) and found.keep[0] == (gap > 20)


def line(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)[:, None]


def test_realism_is_the_largest_ball_over_its_distance() -> None:
    # Third nearest fellows of 0, 1, 2, 3 and 10 lie 3, 2, 2, 3 and 9 away.
    train = embedded([0] * 5, line(0, 1, 2, 3, 10))
    real = Reference(train, embedded([0] * 30, line(*[0.5] * 30)), 0.05)
    assert sorted(real.radii[0].tolist()) == [2, 2, 3, 3, 9] and real.real_enough.tolist() == [1, 1]
    found = judged("realism", real, embedded([0] * 4, line(19, 20, 28, -3.5)))
    assert found.values == pytest.approx([1, 0.9, 0.5, 3 / 3.5], rel=1e-5)
    assert found.keep.tolist() == [True, False, False, False]


def test_realism_takes_what_lies_as_far_outside_as_some_of_val() -> None:
    # 2 of 21 val images lie outside, at a realism of 0.9 and of 0.5; 5% may be turned away.
    train = embedded([0] * 5, line(0, 1, 2, 3, 10))
    real = Reference(train, embedded([0] * 21, line(20, 28, *[1.0] * 19)), 0.05)
    found = judged("realism", real, embedded([0] * 3, line(19.9, 20.5, 28)))
    assert found.keep.tolist() == [True, False, False]


def gauss(n: int, seed: int, classes: int = 2) -> Embedded:
    """Images and features of one distribution a class: fresh ones differ in the seed alone."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.normal(128, 30, (n, 1, 4, 4)).clip(0, 255).astype(np.uint8)
    return embedded(labels, rng.normal(5.0 * labels[:, None], 1.0, (n, 12)), pixels, rng.beta(8, 2, n), classes=classes)


@pytest.fixture(scope="module")
def real() -> Reference:
    return Reference(gauss(800, 1), gauss(1600, 2), 0.1)


def test_about_reject_of_fresh_real_images_are_turned_away(real: Reference) -> None:
    fresh = gauss(4000, 3)
    assert (real.real_enough < 1).all(), "this many lie outside every ball"
    assert 1 - judged("realism", real, fresh).keep.mean() == pytest.approx(0.1, abs=0.03)
    seen_right = fresh.take(fresh.predicted == fresh.labels)
    assert 1 - judged("agreement", real, seen_right).keep.mean() == pytest.approx(0.1, abs=0.03)


def test_few_fresh_real_images_pass_for_copies(real: Reference) -> None:
    # 1% in features and 1% in pixels, independent of each other here.
    turned = 1 - judged("copies", real, gauss(2000, 3)).keep.mean()
    assert 0.008 < turned < 0.035


def test_copies_of_train_are_turned_away_in_pixels_or_in_features_alone(real: Reference) -> None:
    train, fresh = real.train.take(np.arange(60)), gauss(60, 4)
    assert judged("copies", real, fresh).keep.mean() > 0.9
    noise = np.random.default_rng(0)
    off = noise.integers(-1, 2, train.images.shape)
    near = (train.images.astype(int) + off).clip(0, 255).astype(np.uint8)
    for vectors, images in (
        (train.vectors, train.images),
        (train.vectors + noise.normal(0, 1e-3, train.vectors.shape).astype(np.float32), near),
        (fresh.vectors, train.images),
        (fresh.vectors, near),
        (train.vectors, fresh.images),
    ):
        made = Embedded(vectors, fresh.probabilities, train.labels, images)
        found = judged("copies", real, made)
        assert not found.keep.any() and (found.values <= 1).all()


def test_a_copy_is_one_of_its_own_class(real: Reference) -> None:
    train = real.train.take(np.arange(20))
    swapped = Embedded(train.vectors, train.probabilities, 1 - train.labels, train.images)
    assert judged("copies", real, swapped).keep.all()


def test_a_near_copy_lies_no_further_from_train_than_the_limit() -> None:
    # One of 101 val images of the class lies 2 away in features, the others 10: the limit is between.
    train = embedded([0, 0], line(0, 100), contrasts([0, 250]))
    val = embedded([0] * 101, line(2, *[10.0] * 100), contrasts([120] * 101))
    limit = float(Reference(train, val, 0.05).copy_limits["features"][0])
    assert 2 < limit <= 10
    made = embedded([0, 0], line(limit * 0.99, limit * 1.01), contrasts([125, 125]))
    assert judged("copies", Reference(train, val, 0.05), made).keep.tolist() == [False, True]


@pytest.fixture
def apart() -> Reference:
    """Nearest fellows of class 0 lie 10 apart, those of class 1 lie 4 apart."""
    images = np.concatenate([steps(list(range(0, 250, 10))), steps(list(range(0, 100, 4)))])
    train = embedded(np.repeat([0, 1], 25), images=images)
    return Reference(train, train, 0.05)


def test_the_second_of_two_like_images_is_turned_away(apart: Reference) -> None:
    made = embedded([0, 0, 0, 1, 1, 1], images=steps([7, 7, 18, 7, 11, 12]))
    found = judged("duplicates", apart, made)
    # Distance to the nearest before it, over 10 or 4; an equal image of another class is none.
    assert found.values.tolist() == pytest.approx([np.inf, 0, 1.1, np.inf, 1, 0.25])
    assert found.keep.tolist() == [True, False, True, True, False, False]


def test_images_kept_in_earlier_rounds_count_too(apart: Reference) -> None:
    kept = embedded([0, 1], images=steps([50, 90]))
    made = embedded([0, 0, 1, 1], images=steps([55, 90, 50, 93]))
    assert judged("duplicates", apart, made, kept).keep.tolist() == [False, True, True, False]


@pytest.mark.parametrize("at_once", [1, 4, 1024])
def test_blocks_change_nothing(at_once, apart: Reference, monkeypatch) -> None:
    monkeypatch.setattr(curation, "AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    labels, values = rng.integers(0, 2, 30), rng.integers(0, 256, 30)
    found = judged("duplicates", apart, embedded(labels, images=steps(values.tolist())))
    for row, (label, value) in enumerate(zip(labels, values, strict=True)):
        earlier = np.abs(values[:row][labels[:row] == label] - value)
        gap = earlier.min() if len(earlier) else np.inf
        assert found.values[row] == pytest.approx(gap / (10, 4)[label])
        assert found.keep[row] == (gap > (10, 4)[label])
    made = embedded(labels, images=steps(values.tolist()))
    assert judged("blank", apart, made).values == pytest.approx(made.images.std((1, 2, 3)))


def test_thresholds_come_from_train_and_val_alone() -> None:
    found = []
    for seed, n in ((5, 40), (6, 300)):
        own = Reference(gauss(100, 1), gauss(100, 2), 0.05)
        for name in checks:
            judged(name, own, gauss(n, seed), gauss(10, 7))
        found.append([getattr(own, limit) for limit in LIMITS] + [*own.copy_limits.values()])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def few() -> Reference:
    """Class 0: 30 images; 1: one of train; 2: two of train; 3: none of val; 4: neither; 5: none of train."""
    train = embedded(np.repeat([0, 1, 2, 3], [30, 1, 2, 25]), classes=6)
    val = embedded(np.repeat([0, 1, 2, 5], [30, 25, 25, 25]), classes=6, seed=1)
    return Reference(train, val, 0.05)


@pytest.mark.parametrize("name", [*checks])
@pytest.mark.parametrize("n", [0, 1, 60])
def test_every_check_gives_a_value_and_a_word_to_each_image(name: str, n: int) -> None:
    made = embedded(np.arange(n) % 6, classes=6, seed=2)
    found = judged(name, few(), made)
    assert found.values.dtype == np.float32 and found.values.shape == (n,)
    assert found.keep.dtype == np.bool_ and found.keep.shape == (n,)
    assert not np.isnan(found.values).any()


@pytest.mark.parametrize("name", [*checks])
@pytest.mark.parametrize("label", range(6))
def test_classes_of_few_images_do_not_lose_every_image(name: str, label: int) -> None:
    """Fresh images of the same noise: whatever a class lacks, no check is to turn all of them away."""
    made = embedded([label] * 40, classes=6, seed=3)
    assert judged(name, few(), made).keep.mean() > 0.5


@pytest.mark.parametrize("name", [*checks])
def test_no_check_needs_a_val_image(name: str) -> None:
    train = embedded(np.repeat([0, 1], [30, 2]))
    empty = train.take(np.empty(0, np.int64))
    found = judged(name, Reference(train, empty, 0.05), embedded([0, 1] * 10, seed=4))
    assert found.keep.shape == (20,) and not np.isnan(found.values).any()


@pytest.mark.parametrize("name", [name for name in checks if name != "duplicates"])
def test_an_image_is_judged_by_itself(name: str) -> None:
    own, made = Reference(gauss(100, 1), gauss(100, 2), 0.05), gauss(50, 5)
    whole = judged(name, own, made)
    for rows in (np.arange(50)[::-1], np.arange(0, 50, 7)):
        assert judged(name, own, made.take(rows)).values == pytest.approx(whole.values[rows])


def curator(real: Reference, **options: object) -> Curator:
    """Sees in an image's first pixels what its features and its class are."""

    def embed(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Embedded:
        flat = images.reshape(len(images), -1).astype(float)
        return embedded(labels, flat[:, 2:8] / 40, images, flat[:, 0] / 255)

    return Curator(Curation.model_validate(options), real, embed)


def candidates(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8)
    images[: n // 6] = images[n // 2 : n // 2 + n // 6]
    images[-n // 8 :, 0, 1:] = 0
    return images, rng.integers(0, 2, n)


def test_checks_are_a_funnel() -> None:
    images, labels = candidates(300, 1)
    look = curator(Reference(gauss(9, 1), gauss(9, 2), 0.5)).embed
    curating = curator(Reference(look(*candidates(200, 2)), look(*candidates(200, 3)), 0.2))
    names = curating.options.checks
    assert names == tuple(checks)
    kept = 0
    for start in range(0, 300, 100):
        part = images[start : start + 100], labels[start : start + 100]
        rows, values = curating.check(*part)
        assert list(values) == list(names) and {len(v) for v in values.values()} == {len(rows)}
        assert (np.diff(rows) > 0).all()
        made = curating.embed(part[0][rows], part[1][rows])
        for name in names[:-1]:  # each of those that stay passes every check by itself
            alone = judged(name, curating.real, made)
            assert alone.keep.all() and alone.values == pytest.approx(values[name]), name
        curating.keep(part[0][rows], part[1][rows])
        kept += len(rows)
    turned = dict.fromkeys(names, 0)
    for label in (0, 1):
        seen = [curating.seen[name, label] for name in names]
        passed = [curating.passed[name, label] for name in names]
        assert seen == [(labels == label).sum(), *passed[:-1]]
        for name, before, after in zip(names, seen, passed, strict=True):
            turned[name] += before - after
    assert kept == sum(curating.passed[names[-1], label] for label in (0, 1)) > 0
    assert turned["agreement"] > 0 and turned["duplicates"] > 0, turned


def test_what_was_kept_is_remembered_from_call_to_call() -> None:
    curating = curator(Reference(gauss(60, 1), gauss(60, 2), 0.5), checks=["duplicates"])
    images, labels = gauss(20, 3).images, np.arange(20) % 2
    assert len(curating.check(images, labels)[0]) == 20
    assert len(curating.check(images, labels)[0]) == 20  # judged is not taken
    curating.keep(images[:5], labels[:5])
    assert curating.check(images, labels)[0].tolist() == list(range(5, 20))
    curating.keep(images[5:], labels[5:])
    assert len(curating.check(images, labels)[0]) == 0


def test_without_checks_everything_stays() -> None:
    curating = curator(Reference(gauss(60, 1), gauss(60, 2), 0.5), checks=[])
    rows, values = curating.check(*candidates(10, 0))
    assert rows.tolist() == list(range(10)) and values == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("checks=[blank, realsim]", "unknown check 'realsim' (did you mean 'realism'?); choose from blank, "),
        ("checks=[blank, copies, blank]", "duplicate check in ['blank', 'copies', 'blank']"),
        ("reject=0", "curation.reject: "),
        ("rounds=0", "curation.rounds: "),
        ("oversample=0.5", "curation.oversample: "),
    ],
)
def test_a_mistake_in_the_config_is_one_line(given: str, told: str) -> None:
    values = {"name": "x", "source": {"kind": "bundled"}, "arms": [{"name": "real"}], "baseline": "real"}
    assert config.build(dict(values)).curation == Curation()
    with pytest.raises(UserError) as raised:
        config.build(dict(values), [f"curation.{given}"])
    assert told in str(raised.value) and "\n" not in str(raised.value)
