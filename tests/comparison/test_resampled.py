"""The corrected resampled t-test against its equation, and its false alarms over splits that overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from augpipe.comparison.bootstrap import macro_recall
from augpipe.comparison.resampled import compare_over_splits, estimates, gain, gains, interval, seeds_needed
from augpipe.comparison.units import Units

LABELS = np.repeat(np.arange(3), 40).astype(np.int64)
UNITS = Units(LABELS)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_test_images_it_is_students_t() -> None:
    values = {"a": rng(1).normal(0.7, 0.02, 8), "b": rng(2).normal(0.72, 0.02, 8)}
    theirs = stats.ttest_rel(values["b"], values["a"])
    found = gain("b", "a", values, 0.0)
    assert found.p == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    apart = values["b"] - values["a"]
    assert found.effect_size == pytest.approx(apart.mean() / apart.std(ddof=1))


def test_the_variance_is_nadeau_and_bengios() -> None:
    """(1/S + n_test / n_train) · s², with S - 1 degrees (2003, section 4)."""
    values = np.array([0.70, 0.74, 0.69, 0.73, 0.71])
    found = interval(values, 0.25)
    s2 = ((values - values.mean()) ** 2).sum() / 4
    assert found.error == pytest.approx(math.sqrt((1 / 5 + 0.25) * s2))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 4) * found.error)


def test_one_split_says_nothing() -> None:
    found = gains({"a": np.array([0.1]), "b": np.array([0.9])}, "a", 0.25, [UNITS])[0]
    assert found.verdict == "too few seeds to say" and found.p == 1
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.2, 1.8))
    assert math.isfinite(found.interval.error) and found.seeds_needed == 3


def test_an_arm_against_its_twin() -> None:
    values = {"a": rng().normal(0.7, 0.02, 5)}
    values["b"] = values["a"].copy()
    found = gains(values, "a", 0.25, [UNITS])[0]
    assert found.p == 1 and found.verdict == "no difference shown" and np.isnan(found.effect_size)
    assert found.interval.low < 0 < found.interval.high


def test_estimates_are_macro_recalls_of_each_splits_own_labels() -> None:
    labels = [LABELS, LABELS[::-1].copy()]
    said = {"a": [np.where(rng(s).random(120) < 0.8, y, (y + 1) % 3) for s, y in enumerate(labels)]}
    found = estimates(said, labels)["a"]
    assert found.tolist() == [macro_recall((o == y)[None], y)[0] for o, y in zip(said["a"], labels, strict=True)]


def _nearest_mean(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    means = np.stack([x[y == c].mean(0) for c in (0, 1)])
    return ((test[:, None] - means) ** 2).sum(2).argmin(1)


def test_false_alarms_over_splits_that_overlap_are_rare() -> None:
    """Two learners that are equally good on the whole population, compared over splits of one small set.

    Each sees features of its own. Which of them a small set favours is luck, and all its splits share it: to Student's
    t-test over the splits it looks like a difference.
    """
    alarms = {"corrected": 0, "plain": 0}
    sets, splits, n, n_test = 300, 10, 100, 20
    for s in range(sets):
        r = rng(s)
        y = np.repeat([0, 1], n // 2)
        x = r.normal(size=(n, 12)) + 0.35 * y[:, None]
        values = {"a": [], "b": []}
        for _ in range(splits):
            order = r.permutation(n)
            test, train = order[:n_test], order[n_test:]
            for arm, own in (("a", x[:, :6]), ("b", x[:, 6:])):
                said = _nearest_mean(own[train], y[train], own[test])
                values[arm].append((said == y[test]).mean())
        arms = {arm: np.array(v) for arm, v in values.items()}
        alarms["corrected"] += gain("b", "a", arms, n_test / (n - n_test)).p < 0.05
        alarms["plain"] += gain("b", "a", arms, 0.0).p < 0.05
    # 5% of 300 is 15, and 26 lies three deviations above.
    assert alarms["corrected"] <= 26
    assert alarms["plain"] > 2 * 15 and alarms["plain"] > alarms["corrected"]


def test_a_planted_gain_is_found() -> None:
    base = rng(0).normal(0.7, 0.03, 8)
    values = {"base": base, "lift": base + 0.05 + rng(1).normal(0, 0.01, 8)}
    assert gains(values, "base", 0.25, [UNITS])[0].verdict == "better"
    assert gains(values, "lift", 0.25, [UNITS])[0].verdict == "worse"


def test_seeds_needed_would_do() -> None:
    mean, variance, ratio = 0.02, 0.02**2, 0.05
    n = seeds_needed(mean, variance, ratio, 3, arms=4)
    assert n is not None and n > 4
    for seeds, shown in ((n, True), (n - 1, False)):
        t = stats.t.ppf(1 - 0.025 / 4, seeds - 1) + stats.t.ppf(0.8, seeds - 1)
        assert (mean > t * math.sqrt((1 / seeds + ratio) * variance)) == shown
    assert seeds_needed(0.001, variance, ratio, 3, arms=1) is None


def test_a_comparison_over_splits() -> None:
    base = rng(0).normal(0.7, 0.02, 6)
    values = {"real": base, "classic": base + 0.02, "gan": base + 0.06 + rng(3).normal(0, 0.005, 6)}
    val = {arm: float(own.mean()) for arm, own in values.items()}
    generative = {"real": False, "classic": False, "gan": True}
    found = compare_over_splits(values, [UNITS], 0.25, val, generative, "real")
    assert found.best == "gan" and found.strongest == "classic"
    assert found.sentence.startswith("Synthetic images helped: 'gan'")
    assert 0 <= found.levels["gan"].low <= found.levels["gan"].high <= 1
    few = [UNITS, Units(LABELS[[0, 1, 40, 41, 80, 81]])]
    assert (
        compare_over_splits(values, few, 0.25, val, generative, "real").over_baseline["gan"].verdict
        == "too few test images to say"
    )


def test_equal_gains_on_every_split_are_not_surer_than_a_test_image() -> None:
    """Macro recalls come in steps of 1 / (K · n): .05 three times over has the spread of its rounding, step² / 12."""
    base = np.array([0.70, 0.72, 0.71])
    found = gains({"a": base, "b": base + 0.05}, "a", 0.25, [UNITS])[0]
    error = math.sqrt((1 / 3 + 0.25) / 12) / 120
    assert found.interval.error == pytest.approx(error)
    assert found.p == pytest.approx(2 * stats.t.sf(0.05 / error, 2))
    assert found.interval.low < found.interval.mean < found.interval.high
    assert found.verdict == "better"
