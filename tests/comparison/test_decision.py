"""The confirm stage: its error model against the analysis of variance and fresh replicates,
its decisions, its symmetries.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from augpipe.comparison.bootstrap import degrees, interval
from augpipe.comparison.boundaries import look
from augpipe.comparison.decision import confirm_pair, decide, replicates_needed
from augpipe.comparison.options import METRICS
from augpipe.comparison.paired import Difference, Variances, difference, estimate_of, scores
from augpipe.comparison.units import Units

TRUTH = np.repeat(np.arange(3), [60, 60, 30]).astype(np.int64)
UNITS = Units(TRUTH)


def arm(
    seed: int,
    level: float = 0.8,
    shape: tuple[int, int] = (5, 2),
    spread: tuple[float, float] = (0.0, 0.0),
    truth: np.ndarray = TRUTH,
) -> np.ndarray:
    """Predictions of trainings whose rate varies by these deviations between generators and classifiers."""
    rng = np.random.default_rng(seed)
    g, r = shape
    rate = level + spread[0] * rng.normal(size=(g, 1)) + spread[1] * rng.normal(size=(g, r))
    right = rng.random((g, r, len(truth))) < rate[..., None]
    return np.where(right, truth, (truth + 1) % 3).astype(np.uint8)


@pytest.mark.parametrize("groups", [None, np.arange(len(TRUTH)) // 5])
def test_with_one_classifier_it_is_the_estimate_of_seeds(groups: np.ndarray | None) -> None:
    a, b = arm(0, 0.85, (4, 1), (0.04, 0)), arm(1, 0.8, (4, 1))
    answer = confirm_pair(a, b, TRUTH, groups)
    values = (a[:, 0] == TRUTH).astype(float) - (b[:, 0] == TRUTH)
    expected = interval(values, Units(TRUTH, groups))
    assert answer.difference == pytest.approx(100 * expected.mean)
    assert answer.error == pytest.approx(100 * expected.error)
    assert answer.df == pytest.approx(expected.df)
    assert answer.p == pytest.approx(2 * stats.t.sf(abs(expected.mean) / expected.error, expected.df))


def test_components_are_those_of_the_nested_analysis_of_variance() -> None:
    a, b = arm(0, 0.8, (6, 4), (0.1, 0.03)), arm(1, 0.8, (6, 4))
    answer = confirm_pair(a, b, TRUTH)
    values = np.array(answer.values)
    assert values == pytest.approx(scores(a, Units(TRUTH)) - scores(b, Units(TRUTH)))
    between = 4 * ((values.mean(1) - values.mean()) ** 2).sum() / 5
    within = ((values - values.mean(1, keepdims=True)) ** 2).sum() / (6 * 3)
    of = answer.variances
    assert (of.generator, of.classifier) == pytest.approx(((between - within) / 4, within))
    assert (answer.generators, answer.classifiers) == (6, 4)
    assert of.of_mean(6, 4) == pytest.approx(answer.error**2)
    assert of.of_mean(12, 4) - of.test == pytest.approx((of.of_mean(6, 4) - of.test) / 2)


def test_degrees_of_freedom_are_satterthwaites() -> None:
    """Of generators with G - 1, of test units with theirs: few generators that vary, many images that hardly count."""
    a, b = arm(0, 0.8, (4, 3), (0.1, 0)), arm(1, 0.8, (4, 3))
    estimate = difference(a, b, Units(TRUTH))
    between = estimate.values.mean(1).var(ddof=1) / 4
    units = Units(TRUTH)
    test = units.variance_of(estimate.influence[None])[0]
    expected = estimate.error**4 / (between**2 / 3 + test**2 / units.degrees)
    assert estimate.df == pytest.approx(max(1, expected))
    assert 1 <= estimate.df < 5
    # Of one class, only its 30 images count.
    assert difference(a, b, UNITS, classes=(2,)).of_test == pytest.approx(29)


def test_of_two_means_they_are_welchs() -> None:
    """Satterthwaite's formula for two variance components is that of Welch's test, scipy's here."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 5), rng.normal(0, 2, 30)
    a, b = first.var(ddof=1) / 5, second.var(ddof=1) / 30
    expected = stats.ttest_ind(first, second, equal_var=False).df
    assert float(degrees(a + b, a, b, 5, 29)) == pytest.approx(expected)


def test_without_variance_of_test_images_it_is_the_paired_t() -> None:
    """Of the generators' means, scipy's."""
    rng = np.random.default_rng(0)
    ours, theirs = 80 + rng.normal(0, 1, (6, 2)), 79 + rng.normal(0, 1, (6, 2))
    expected = stats.ttest_rel(ours.mean(1), theirs.mean(1))
    answer = estimate_of("", ours - theirs, np.zeros((6, len(TRUTH))), 0.0, UNITS, 100.0, 30.0)
    assert (answer.p, answer.df) == pytest.approx((expected.pvalue, expected.df))
    assert answer.interval(0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("shape, spread", [((3, 8), (0.05, 0.05)), ((5, 2), (0.0, 0.1))])
def test_intervals_cover_as_often_as_they_say(shape: tuple[int, int], spread: tuple[float, float]) -> None:
    covered = 0
    for s in range(200):
        arms = arm(2 * s, 0.7, shape, spread), arm(2 * s + 1, 0.7, shape)
        low, high = difference(*arms, UNITS).interval(0.05)
        covered += low <= 0 <= high
    assert covered >= 180  # 95% of 200 is 190; 180 lies 3 deviations below


@pytest.mark.parametrize("metric", [m for m in METRICS if m != "macro_auc"])
def test_symmetries(metric: str) -> None:
    options: dict = {"metric": metric, "classes": (1, 2) if metric == "minority_recall" else ()}
    a, b = arm(0, 0.85, spread=(0.05, 0.02)), arm(1)
    rng = np.random.default_rng(0)
    answer, swapped = confirm_pair(a, b, TRUTH, **options), confirm_pair(b, a, TRUTH, **options)
    assert (swapped.difference, swapped.low, swapped.high) == pytest.approx(
        (-answer.difference, -answer.high, -answer.low)
    )
    assert swapped.p == pytest.approx(answer.p)
    generators, classifiers, images = (rng.permutation(n) for n in a.shape)
    mixed = confirm_pair(
        a[generators][:, classifiers][:, :, images],
        b[generators][:, classifiers][:, :, images],
        TRUTH[images],
        **options,
    )
    assert (mixed.low, mixed.high, mixed.p) == pytest.approx((answer.low, answer.high, answer.p))
    twice = confirm_pair(np.tile(a, (2, 1, 1)), np.tile(b, (2, 1, 1)), TRUTH, **options)
    assert twice.difference == pytest.approx(answer.difference)
    assert twice.high - twice.low < answer.high - answer.low
    # Names of groups, and images as groups of their own, change nothing.
    named = confirm_pair(a, b, TRUTH, [f"patient {i}" for i in range(len(TRUTH))], **options)
    assert named.p == pytest.approx(answer.p)


def test_interval_p_and_decision_never_disagree() -> None:
    seen = set()
    for s in range(30):
        a, b = arm(2 * s, 0.8 + 0.004 * (s - 15), (5, 1)), arm(2 * s + 1, 0.8, (5, 1))
        for looks in (None, (5, 10)):
            answer = confirm_pair(a, b, TRUTH, looks=looks)
            seen.add(answer.decision)
            excludes = answer.low > 0 or answer.high < 0
            assert excludes == (answer.p < 0.05) == (answer.decision in ("better", "worse"))
            assert (answer.decision == "better") == (answer.low > 0)
    assert seen == {"better", "worse", "undecided"}


def test_a_look_is_stricter_than_the_last_one() -> None:
    a, b = arm(0, 0.9, (5, 2)), arm(1, 0.8, (5, 2))
    alone, early = confirm_pair(a, b, TRUTH), confirm_pair(a, b, TRUTH, looks=(5, 20))
    late = confirm_pair(a, b, TRUTH, looks=(3, 5))
    assert alone.decision == "better"
    assert early.high - early.low > late.high - late.low > alone.high - alone.low
    assert early.p > late.p > alone.p and early.look.number == 1 and late.look.number == 2


def test_a_class_won_completely_is_a_gain_and_twins_are_equivalent() -> None:
    every = np.tile(TRUTH, (3, 2, 1))
    none = np.where(TRUTH == 2, 0, every)
    for metric in ("macro_recall", "macro_f1", "worst_class_recall"):
        answer = confirm_pair(every, none, TRUTH, metric=metric)  # type: ignore[arg-type]
        assert answer.decision == "better" and 0 < answer.error < 10 and answer.p < 0.01, metric
    minority = confirm_pair(every, none, TRUTH, metric="minority_recall", classes=(2,))
    # Adjusted Wald of a pair (Agresti & Min 2005), half an image for each of four outcomes.
    outcomes = np.concatenate([np.ones(2 * 30 + 1), [-1, 0, 0]])
    assert minority.difference == pytest.approx(100)
    assert minority.error == pytest.approx(100 * (outcomes.var() / 32) ** 0.5)
    twins = confirm_pair(none, none, TRUTH)
    assert (twins.decision, twins.low, twins.high, twins.p) == ("equivalent", 0, 0, 1)


def estimate(mean: float, error: float, df: float = 12.0, g: int = 5) -> Difference:
    values = np.full((g, 2), mean)
    of = Variances(0.6 * error**2 * g, 0.2 * error**2 * g, 0.3 * error**2)
    return Difference("", mean, error, df, of, values, np.zeros(4), 1.0, 0.0, 100.0, 50.0)


@pytest.mark.parametrize("mean", [-0.6, -0.2, 0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("error", [0.05, 0.15, 0.28, 1.0])
def test_equivalence_is_two_one_sided_tests(mean: float, error: float) -> None:
    answer = decide(estimate(mean, error), "macro_recall", margin=0.5)
    p = max(stats.t.sf((mean + 0.5) / error, 12.0), stats.t.cdf((mean - 0.5) / error, 12.0))
    assert answer.within_margin == (p < 0.05) == (answer.inner[0] > -0.5 and answer.inner[1] < 0.5)
    assert answer.inner == pytest.approx(stats.t.interval(0.9, 12.0, mean, error))
    differs = 2 * stats.t.sf(abs(mean) / error, 12.0) < 0.05
    expected = ("better" if mean > 0 else "worse") if differs else "equivalent"
    assert answer.decision == (expected if differs or p < 0.05 else "undecided")


@pytest.mark.parametrize("mean, decided", [(1.5, "better"), (0.05, "equivalent")])
def test_of_so_many_replicates_four_of_five_runs_decide(mean: float, decided: str) -> None:
    """Simulated with the components of an estimate that did not decide."""
    before = estimate(mean, 0.9 if mean > 1 else 0.28)
    needed = decide(before, "macro_recall").replicates_needed
    assert needed is not None and needed > 5
    of, rng, hits = before.variances, np.random.default_rng(0), 0
    per_generator = (of.generator + of.classifier / 2) ** 0.5
    for _ in range(1500):
        values = mean + per_generator * rng.normal(size=(needed, 1)) + of.test**0.5 * rng.normal()
        error = (values.var(ddof=1) / needed + of.test) ** 0.5
        df = error**4 / ((error**2 - of.test) ** 2 / (needed - 1) + of.test**2 / 100)
        low, high = values.mean() + error * stats.t.ppf(0.95, df) * np.array([-1, 1])
        p = 2 * stats.t.sf(abs(values.mean()) / error, df)
        hits += p < 0.05 if decided == "better" else (low > -0.5 and high < 0.5)
    assert 0.75 < hits / 1500 < 0.92


@pytest.mark.parametrize("effect, pairs", [(0.2, 199), (0.3, 90), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_replicates_needed_are_those_of_tables_for_the_paired_t(effect: float, pairs: int) -> None:
    """Pairs for 80% power at 5%, two-sided, by the noncentral t: as tables and calculators of sample sizes print."""
    n = np.arange(3, 300)
    power = stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, effect * n**0.5)
    assert n[power >= 0.8][0] == pairs
    alone = replace(estimate(effect, 0.1, g=3), variances=Variances(1.0, 0.0, 0.0))
    assert replicates_needed(alone, margin=1e-6) == pairs


@pytest.mark.parametrize("mean, test", [(1.5, 0.16), (1.0, 0.0)])
def test_they_decide_four_of_five_runs_with_looks_as_well(mean: float, test: float) -> None:
    """Simulated with looks at 5, 10, 20, ... replicates, and the test units' variance estimated, with 60 degrees."""
    of = Variances(4.0, 0.0, test)
    needed = replicates_needed(replace(estimate(mean, 1.0), variances=of, of_test=60.0))
    assert needed is not None and needed > 20
    rng, runs = np.random.default_rng(0), 10_000
    replicates = mean + 2 * rng.normal(size=(runs, needed)) + test**0.5 * rng.normal(size=(runs, 1))
    of_test, decided = test * rng.chisquare(60, runs) / 60, np.zeros(runs, bool)
    counts = [n for n in (5, 10, 20, 40) if n < needed] + [needed]
    for n in counts:
        values = replicates[:, :n]
        between = values.var(axis=1, ddof=1) / n
        t = np.abs(values.mean(1)) / np.sqrt(between + of_test)
        df = degrees(between + of_test, between, of_test, n, 60.0)
        decided |= t > stats.t.isf(look(counts, n).level / 2, df)
    assert decided.mean() == pytest.approx(0.8, abs=0.02)


def test_too_few_to_say() -> None:
    few = np.repeat(np.arange(3), 4).astype(np.int64)
    a, b = np.tile(few, (5, 2, 1)), np.tile((few + 1) % 3, (5, 2, 1))
    answer = confirm_pair(a, b, few)
    assert (answer.decision, answer.reason) == ("undecided", "too few test images")
    assert answer.replicates_needed is None and not answer.within_margin
    patients = confirm_pair(arm(0), arm(1), TRUTH, np.arange(len(TRUTH)) // 15)
    assert patients.reason == "too few test images"
    for g, needed in ((1, 3), (2, 3)):
        short = confirm_pair(arm(0, 0.95, (g, 2)), arm(1, 0.5, (g, 2)), TRUTH)
        assert (short.decision, short.reason) == ("undecided", "too few replicates")
        assert short.replicates_needed == needed
    hopeless = decide(estimate(0.4, 3.0), "macro_recall")
    assert hopeless.replicates_needed is None  # test images limit it


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"paired arms have one shape; got \(5, 2, 150\) and"):
        confirm_pair(arm(0), arm(1, shape=(4, 2)), TRUTH)
    with pytest.raises(ValueError, match="margin must be above 0 points; got 0"):
        confirm_pair(arm(0), arm(1), TRUTH, margin=0)
    with pytest.raises(ValueError, match=r"5 replicates are none of the planned looks \[3, 6\]"):
        confirm_pair(arm(0), arm(1), TRUTH, looks=(3, 6))


def test_patients_that_differ_are_not_taken_for_many_images() -> None:
    """Equal arms with luck by patient: a difference in few of 150 cases, in many if images counted alone."""
    patient = np.arange(600) // 30
    truth = (patient % 2).astype(np.int64)
    by_patient, by_image = Units(truth, patient), Units(truth)
    wrong = alone = 0
    for s in range(150):
        rng = np.random.default_rng(s)
        rates = np.clip(0.7 + 0.2 * rng.normal(size=(2, 20)), 0, 1)[:, patient]
        a, b = (np.where(rng.random((3, 2, 600)) < rate, truth, 1 - truth) for rate in rates)
        wrong += difference(a, b, by_patient).p < 0.05
        alone += difference(a, b, by_image).p < 0.05
    assert wrong <= 15 and alone > 3 * wrong, (wrong, alone)  # 5% of 150 are 7.5; 15: 2.8 deviations


def test_an_interval_holds_only_differences_that_are_possible() -> None:
    """Two replicates, 0 and 100 points: t with a single degree of freedom would reach beyond 100."""
    truth = np.zeros(20, int)
    rival = np.ones((2, 1, 20), int)
    contender = rival.copy()
    contender[1] = 0
    result = confirm_pair(contender, rival, truth)
    assert result.difference == pytest.approx(50) and result.p > 0.05
    assert (result.low, result.high) == (-100, 100)
