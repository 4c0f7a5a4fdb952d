from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import LABELS, runs
from references import holm_by_definition
from scipy import stats

from augpipe.comparison import bootstrap as comparison
from augpipe.comparison.bootstrap import gain, holm, interval, macro_recall
from augpipe.comparison.explore import Comparison, compare_arms, gains
from augpipe.comparison.units import Units

UNITS = Units(LABELS)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_macro_recall_weighs_classes_equally() -> None:
    labels = np.array([0, 0, 0, 0, 1], dtype=np.int64)
    right = np.array([[True, True, True, False, False], [False, False, False, False, True]])
    assert macro_recall(right, labels).tolist() == pytest.approx([0.375, 0.5])


def test_interval_of_one_run_is_the_binomial_one() -> None:
    labels = np.zeros(400, np.int64)
    right = rng().random((1, 400)) < 0.8
    found = interval(right.astype(float), Units(labels))
    p = right.mean()
    half = 1.96 * (p * (1 - p) / 400) ** 0.5
    assert found.mean == pytest.approx(p)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_error_holds_seeds_and_images() -> None:
    """Against the variance of many fresh replicates of the whole experiment."""
    fresh = [macro_recall(runs(0.7, 4, 0.06, seed=s), LABELS).mean() for s in range(400)]
    told = [interval(runs(0.7, 4, 0.06, seed=1000 + s).astype(float), UNITS).error ** 2 for s in range(60)]
    assert np.mean(told) ** 0.5 == pytest.approx(np.std(fresh), rel=0.25)


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_as_often_as_they_say(seeds: int) -> None:
    covered = 0
    for s in range(200):
        found = interval(runs(0.7, seeds, 0.05, seed=s).astype(float), UNITS)
        covered += found.low <= 0.7 <= found.high
    assert covered >= 180  # 95% of 200 is 190; 180 lies 3 deviations below


def test_false_alarms_of_equal_arms_are_rare() -> None:
    """Same law under two names: `better` in at most 5%."""
    better = 0
    for s in range(120):
        right = {"a": runs(0.7, 3, 0.03, seed=2 * s), "b": runs(0.7, 3, 0.03, seed=2 * s + 1)}
        found = gains(right, UNITS, "a")[0]
        better += found.verdict == "better"
    assert better <= 6


def test_a_planted_gain_is_found() -> None:
    base = runs(0.6, 5, 0.01, seed=0)
    lift = base | (rng(9).random(base.shape) < 0.25)
    found = gains({"base": base, "lift": lift}, UNITS, "base")[0]
    assert found.verdict == "better"
    assert found.interval.mean == pytest.approx((lift.mean() - base.mean()), abs=1e-9)
    worse = gains({"base": lift, "lift": base}, UNITS, "base")[0]
    assert worse.verdict == "worse" and worse.interval.high < 0


def test_pairing_takes_common_luck_out() -> None:
    base = runs(0.7, 3, 0.1, seed=4)
    twin = base.copy()
    twin[:, ::40] = True
    paired = gain("twin", "base", {"base": base, "twin": twin}, UNITS).interval
    apart = interval(base.astype(float), UNITS)
    assert paired.error < apart.error / 5


@pytest.mark.parametrize("rare", [5, 20, 400])
def test_a_class_won_completely_is_a_gain(rare: int) -> None:
    """From 0 to all of its images in every seed: no spread is seen, and by the rule of three (Hanley & Lippman-Hand
    1983) up to 3 of `rare` further images may yet be missed."""
    labels = np.repeat([0, 1], [60, rare]).astype(np.int64)
    none, every = np.tile(labels == 0, (5, 1)), np.ones((5, len(labels)), bool)
    for arms, sign, word in (((none, every), 1, "better"), ((every, none), -1, "worse")):
        found = gains(dict(zip("ab", arms, strict=True)), Units(labels), "a")[0]
        assert (found.interval.mean, found.verdict) == (pytest.approx(sign / 2), word)
        assert found.seeds_needed is None and found.p < 0.02
        missed = 3 / rare / 2
        assert missed / 3 < found.interval.high - found.interval.mean < 2 * missed
    # Adjusted Wald of a pair (Agresti & Min 2005), of as many half images as outcomes.
    outcomes = np.concatenate([np.ones(2 * rare + 1), [-1, 0, 0]])
    expected = outcomes.var() / (rare + 2) / 4
    assert found.interval.error == pytest.approx(expected**0.5)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("sizes", [[60, 60], [200, 6]])
def test_the_ends_are_those_of_many_resamples(seeds: int, sizes: list[int]) -> None:
    """Against 200,000 draws of seeds and images; of few images, percentiles are steps."""
    labels = np.repeat([0, 1], sizes)
    values = runs(0.8, seeds, 0.05, labels=labels) - runs(0.7, seeds, 0.05, 1, labels).astype(float)
    units, r, n = Units(labels), rng(3), 200_000
    found, per_seed, drawn = interval(values, units), units.mean(values), np.zeros(n)
    for c, m in enumerate(sizes):
        of_class = values.mean(0)[labels == c]
        value, times = np.unique(of_class, return_counts=True)
        total = r.multinomial(m, times / m, n) @ value
        drawn += (total / m - of_class.mean()) * (m / (m - 1)) ** 0.5 / 2
    images = sum(
        (values[:, labels == c] - values[:, labels == c].mean(1, keepdims=True)).var(1) / (m - 1)
        - np.full(seeds, values.mean(0)[labels == c].var() / (m - 1))
        for c, m in enumerate(sizes)
    )
    of_seeds = max(0.0, per_seed.var(ddof=1) - float(np.mean(images)) / 4 * seeds / (seeds - 1))
    deviations = (per_seed - per_seed.mean()) * (of_seeds / per_seed.var()) ** 0.5
    drawn += deviations[r.integers(0, seeds, (n, seeds))].mean(1)
    assert found.error == pytest.approx(drawn.std(), rel=0.01)
    wider = stats.t.ppf(0.975, found.df) / stats.norm.ppf(0.975)
    for end, q in ((found.low, 0.025), (found.high, 0.975)):
        assert (end - found.mean) / wider == pytest.approx(np.quantile(drawn, q), abs=0.05 * drawn.std())


def test_an_arm_is_judged_the_same_beside_any_others() -> None:
    right = {"a": runs(0.7, 3, 0.03), "b": runs(0.74, 3, 0.03, seed=1), "c": runs(0.6, 3, seed=2)}
    orders = [("a", "b"), ("b", "a"), ("a", "c", "b"), ("c", "b", "a")]
    alone = gain("b", "a", right, UNITS)
    for order in orders:
        arms = {name: right[name] for name in order}
        found = compare_arms(arms, UNITS, dict.fromkeys(arms, 0.0), dict.fromkeys(arms, False), "a")
        over = found.over_baseline["b"]
        assert (over.interval, over.p) == (alone.interval, alone.p)


def test_an_arm_against_its_twin() -> None:
    base = runs(0.7)
    found = gains({"a": base, "b": base.copy()}, UNITS, "a")[0]
    assert (found.interval.mean, found.interval.low, found.interval.high) == (0, 0, 0)
    assert found.p == 1 and found.verdict == "no difference shown" and found.seeds_needed is None
    assert np.isnan(found.effect_size)


def test_too_few_seeds() -> None:
    right = {"a": runs(0.2, 2), "b": runs(0.9, 2, seed=1)}
    assert gains(right, UNITS, "a")[0].verdict == "too few seeds to say"
    one = gains({k: v[:1] for k, v in right.items()}, UNITS, "a")[0]
    assert one.verdict == "too few seeds to say" and one.seeds_needed == 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(holm_by_definition(p_values))


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    # Computed by R's multtest, as statsmodels has it in its tests of `multipletests` (res_multtest1).
    p = [0.838541, 0.642194, 0.680846, 0.967834, 0.716269, 0.177096952723, 5.23656777208e-5, 0.0202732688798]
    r = [1, 1, 1, 1, 1, 1, 5.23656777208e-4, 0.14191288215860]
    p += [2.8140506198e-4, 0.0149877310796]
    r += [2.53264555782e-3, 0.11990184863680]
    assert holm(p) == pytest.approx(r, rel=1e-12)
    # A Bonferroni test of every set of hypotheses that has this one (Marcus, Peritz & Gabriel 1976).
    sets = [s for k in range(1, 6) for s in itertools.combinations(range(5, 10), k)]
    closed = [max(min(1.0, len(s) * min(p[i] for i in s)) for s in sets if at in s) for at in range(5, 10)]
    assert holm(p[5:]) == pytest.approx(closed)


def test_seeds_needed_would_do() -> None:
    found = comparison.Interval(0.02, 0, 0.04, 0.01, 2)
    parts = (0.02**2, 0.004**2)
    n = comparison.seeds_needed(found, parts, 3, UNITS, arms=4)
    assert n is not None and n > 4
    for seeds, shown in ((n, True), (n - 1, False)):
        var = parts[0] / seeds
        df = (var + parts[1]) ** 2 / (var**2 / (seeds - 1) + parts[1] ** 2 / (len(LABELS) - 4))
        t = stats.t.ppf(1 - 0.025 / 4, df) + stats.t.ppf(0.8, df)
        assert (found.mean > t * (var + parts[1]) ** 0.5) == shown
    small = comparison.Interval(0.001, 0, 0, 0.01, 2)
    assert comparison.seeds_needed(small, (0.02**2, 0.01**2), 3, UNITS, arms=1) is None
    # What is there did not do, so more is needed.
    sure = comparison.Interval(0.5, 0, 1, 0.01, 2)
    assert comparison.seeds_needed(sure, (0, 0), 5, UNITS, arms=1) == 6


def test_of_so_many_seeds_four_of_five_runs_show_the_gain() -> None:
    """Simulated: a gain of 2 points that varies by 2 between seeds, of which three seeds were seen."""
    spread, images = 0.02, 0.002
    found = comparison.Interval(0.02, 0, 0.04, 0.01, 2)
    n = comparison.seeds_needed(found, (spread**2, images**2), 3, UNITS, arms=1)
    assert n is not None
    r, shown = rng(0), 0
    for _ in range(4000):
        gains_ = 0.02 + spread * r.normal(size=n) + images * r.normal()
        error = math.sqrt(gains_.var(ddof=1) / n + images**2)
        shown += gains_.mean() > stats.t.ppf(0.975, n - 1) * error
    assert 0.78 < shown / 4000 < 0.9


def test_few_test_images_are_not_taken_for_many() -> None:
    labels = np.repeat(np.arange(5), 1).astype(np.int64)
    flip = {"a": np.zeros((3, 5), bool), "b": np.ones((3, 5), bool)}
    assert gains(flip, Units(labels), "a")[0].verdict == "too few test images to say"
    # Two images a class: the spread is told, not the (n - 1) / n of it.
    labels = np.repeat(np.arange(30), 2).astype(np.int64)
    fresh = [macro_recall(runs(0.7, 1, seed=s, labels=labels), labels)[0] for s in range(300)]
    told = [
        interval(runs(0.7, 1, seed=500 + s, labels=labels).astype(float), Units(labels)).error ** 2 for s in range(100)
    ]
    assert np.mean(told) ** 0.5 == pytest.approx(np.std(fresh), rel=0.15)


@pytest.mark.parametrize("common", [0.0, 0.6])
def test_luck_of_single_images_is_counted_once(common: float) -> None:
    """Whether seeds miss the same images or each its own, the error is the one of fresh replicates."""

    def replicate(seed: int) -> np.ndarray:
        r = rng(seed)
        hard = r.random(len(LABELS)) < common * 0.4
        return (r.random((3, len(LABELS))) < 0.75) & ~hard

    fresh = [macro_recall(replicate(s), LABELS).mean() for s in range(500)]
    told = [interval(replicate(1000 + s).astype(float), UNITS).error ** 2 for s in range(80)]
    assert np.mean(told) ** 0.5 == pytest.approx(np.std(fresh), rel=0.25)


def test_a_level_stays_within_its_range() -> None:
    labels = np.repeat(np.arange(4), 5).astype(np.int64)
    found = compare_arms(
        {"real": runs(0.95, 3, 0.1, labels=labels)}, Units(labels), {"real": 1.0}, {"real": False}, "real"
    )
    assert 0 <= found.levels["real"].low <= found.levels["real"].high <= 1


def told(arms: dict[str, np.ndarray], generative: dict[str, bool], **val: float) -> Comparison:
    means = {a: float(r.mean()) for a, r in arms.items()} | val
    return compare_arms(arms, UNITS, means, generative, "real")


@pytest.mark.parametrize("n", [5, 7, 30, 33])
def test_a_level_without_spread_lies_in_its_own_interval(n: int) -> None:
    """All right, in every seed: the mean of weights that sum to 1 may come out a hair above it."""
    labels = np.repeat(np.arange(3), n).astype(np.int64)
    right = {"real": np.ones((3, 3 * n), bool), "one": np.tile(labels == 0, (3, 1))}
    found = compare_arms(right, Units(labels), {"real": 1.0, "one": 0.3}, dict.fromkeys(right, False), "real")
    for level in found.levels.values():
        assert 0 <= level.low <= level.mean <= level.high <= 1


@pytest.mark.parametrize("seeds", [2, 3, 5, 9])
def test_the_permutation_p_is_that_of_all_signs(seeds: int) -> None:
    """Against counting by hand: how many of 2^S signs give a mean as far from 0."""
    gains = np.random.default_rng(seeds).normal(0.02, 0.02, seeds)
    signs = np.array(list(itertools.product((1, -1), repeat=seeds)))
    means = (signs * gains).mean(1)
    upper, lower = (means >= gains.mean() - 1e-12).mean(), (means <= gains.mean() + 1e-12).mean()
    assert comparison.sign_flip(gains) == pytest.approx(min(1, 2 * min(upper, lower)))


def test_the_permutation_p_has_a_floor_and_its_edges() -> None:
    assert comparison.sign_flip(np.full(5, 0.1)) == pytest.approx(2 / 2**5)
    assert comparison.sign_flip(np.zeros(4)) == 1
    assert math.isnan(comparison.sign_flip(np.array([0.1])))
    # Of many seeds a sample of the signs: under no gain p is as often under .1 as it says.
    rng = np.random.default_rng(0)
    found = [comparison.sign_flip(rng.normal(0, 1, 15)) for _ in range(200)]
    assert 0.03 < np.mean(np.array(found) < 0.1) < 0.18
    assert comparison.sign_flip(np.full(15, 0.1)) < 0.001


def grouped(seed: int, patients: int, images: int, spread: float) -> tuple[dict, Units]:
    """Two arms that are equal on average, apart by luck of their own on each patient's images; five seeds."""
    r = rng(seed)
    labels = np.repeat(np.arange(2), patients * images).astype(np.int64)
    patient = np.arange(2 * patients * images) // images
    rates = {arm: np.clip(0.7 + spread * r.normal(size=2 * patients), 0, 1)[patient] for arm in "ab"}
    right = {arm: r.random((5, len(labels))) < rate for arm, rate in rates.items()}
    return right, Units(labels, patient)


@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_images_of_a_patient_are_drawn_together(spread: float) -> None:
    """Equal arms that differ by patient: told apart hardly ever, where images taken for themselves would often do."""
    wrong = alone = 0
    for s in range(100):
        right, units = grouped(s, 20, 30, spread)
        wrong += gains(right, units, "a")[0].verdict in ("better", "worse")
        alone += gains(right, Units(units.labels), "a")[0].verdict in ("better", "worse")
    assert wrong <= 11, (wrong, alone)  # 5% of 100 are 5; 11 lie 2.75 deviations above
    assert alone > 2 * wrong


def test_error_of_groups_is_that_of_fresh_ones() -> None:
    """Unequal groups, some of several classes, against the spread of fresh replicates."""

    def replicate(seed: int) -> tuple[np.ndarray, Units]:
        r = rng(seed)
        sizes = r.integers(1, 12, 80)
        patient = np.repeat(np.arange(80), sizes)
        sick = r.random(80)  # how often a patient's image shows the second class: one third never, one third always
        labels = (r.random(len(patient)) < np.clip(3 * sick - 1, 0, 1)[patient]).astype(np.int64)
        rate = np.clip(0.7 + 0.25 * r.normal(size=80), 0, 1)[patient]
        return (r.random((3, len(patient))) < rate).astype(float), Units(labels, patient)

    fresh = [units.mean(v).mean() for v, units in map(replicate, range(600))]
    told = [interval(v, units).error ** 2 for s, (v, units) in enumerate(map(replicate, range(1000, 1100)))]
    assert np.mean(told) ** 0.5 == pytest.approx(np.std(fresh), rel=0.12)


SIZES = {
    "alike": ([20] * 12, 0),
    "log-normal": (np.round(20 * np.exp(rng(7).normal(size=20))).astype(int).clip(1).tolist(), 0),
    "some of both classes": ([10], 10),
    "one of a class, others of both": ([50], 12),
}


@pytest.mark.parametrize("sizes", list(SIZES))
def test_patients_of_unlike_sizes_seldom_give_false_verdicts(sizes: str) -> None:
    """Equal arms, luck by patient; images of each patient of one class, and so many patients with ten of both."""
    own, mixed = SIZES[sizes]
    patient = np.concatenate([np.repeat(np.arange(len(own)) + 100 * c, own) for c in (0, 1)])
    labels = np.repeat([0, 1], sum(own))
    patient = np.concatenate([patient, 500 + np.repeat(np.arange(mixed), 10)])
    labels = np.concatenate([labels, np.tile(np.repeat([0, 1], 5), mixed)]).astype(np.int64)
    units, at = Units(labels, patient), np.unique(patient, return_inverse=True)[1]
    wrong = 0
    for s in range(100):
        r = rng(s)
        rates = {a: np.clip(0.7 + 0.15 * r.normal(size=at.max() + 1), 0, 1)[at] for a in "ab"}
        right = {a: r.random((5, len(labels))) < rate for a, rate in rates.items()}
        wrong += gains(right, units, "a")[0].verdict in ("better", "worse")
    assert wrong <= 11  # 5% of 100 are 5; 11 lie 2.75 deviations above


def test_one_patient_with_most_images_is_no_five() -> None:
    """Sixteen patients, one of them with half of all images: in effect fewer than four."""
    sizes = [150, *[10] * 15]
    labels = np.repeat([0, 1], 300).astype(np.int64)
    patient = np.concatenate([np.repeat(np.arange(16) + 100 * c, sizes) for c in (0, 1)])
    units = Units(labels, patient)
    assert units.least == pytest.approx(300**2 / (150**2 + 15 * 10**2))
    right = {"a": runs(0.2, 5, labels=labels), "b": runs(0.9, 5, seed=1, labels=labels)}
    assert gains(right, units, "a")[0].verdict == "too few test images to say"


def test_groups_of_one_image_are_images() -> None:
    values = runs(0.7, 3).astype(float)
    names = np.array([f"p{k}" for k in rng(1).permutation(len(LABELS))], dtype=object)
    one, other = interval(values, UNITS), interval(values, Units(LABELS, names))
    assert one.error == pytest.approx(other.error, rel=0.05)
    assert one.mean == other.mean and Units(LABELS, names).degrees == UNITS.degrees


def test_too_few_groups_say_nothing_however_many_images() -> None:
    labels = np.repeat(np.arange(2), 100).astype(np.int64)
    right = {"a": runs(0.2, 5, labels=labels), "b": runs(0.9, 5, seed=1, labels=labels)}
    few = Units(labels, np.arange(200) // 25)
    assert gains(right, few, "a")[0].verdict == "too few test images to say"
    assert gains(right, Units(labels), "a")[0].verdict == "better"


def test_the_permutation_p_is_corrected_too() -> None:
    right = {"a": runs(0.4, 7), "b": runs(0.8, 7, seed=1), "c": runs(0.4, 7, seed=2)}
    found = gains(right, UNITS, "a")
    assert found[0].p_permutation == pytest.approx(2 / 2**7)
    assert found[0].p_permutation_holm == pytest.approx(2 * 2 / 2**7)
    assert math.isnan(gains({k: v[:1] for k, v in right.items()}, UNITS, "a")[0].p_permutation_holm)
