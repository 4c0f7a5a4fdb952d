"""G and R: against trying all, and the formula of two-stage sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from augpipe.comparison.allocation import Cost, allocate, explore_variances
from augpipe.comparison.paired import Variances


@pytest.mark.parametrize("generator, classifier", [(0.3, 0.9), (1.0, 0.1), (0.05, 2.0)])
@pytest.mark.parametrize("seconds", [5, 60, 600])
def test_the_ratio_is_cochrans(generator: float, classifier: float, seconds: float) -> None:
    plan = allocate(Variances(generator, classifier, 0.2), Cost(seconds, 10), classifiers=(1, 40))
    best = math.sqrt(classifier / generator * seconds / (2 * 10))
    assert plan.classifiers in {max(1, math.floor(best)), math.ceil(best)}
    assert plan.seconds == 5 * (seconds + 20 * plan.classifiers)
    assert plan.error**2 == pytest.approx(generator / 5 + classifier / 5 / plan.classifiers + 0.2)


def test_within_a_budget_the_interval_is_as_narrow_as_can_be() -> None:
    variances, cost = Variances(0.4, 1.6, 0.1), Cost(50, 10, arms=3)
    plan = allocate(variances, cost, budget=900)

    def width(g: int, r: int) -> float:
        t = stats.t.ppf(0.975, g - 1) ** 2
        return float(t * (0.4 + 1.6 / r) / g + 1.96**2 * 0.1)

    affordable = [(g, r) for g in range(3, 21) for r in range(1, 9) if g * (50 + 30 * r) <= 900]
    assert (plan.generators, plan.classifiers) == min(affordable, key=lambda gr: width(*gr))
    assert plan.seconds <= 900
    assert plan.reason.startswith(f"{plan.generators} generators with {plan.classifiers} classifier")
    assert "0.63 points" in plan.reason and "1.3" in plan.reason


def test_floors_hold_and_a_budget_below_them_is_named() -> None:
    plan = allocate(Variances(0.4, 1.6, 0.1), Cost(500, 10), budget=100)
    assert (plan.generators, plan.classifiers) == (3, 1)
    assert "the budget of 100 s is less than the least that a verdict needs" in plan.reason
    assert allocate(Variances(1, 0, 0), Cost(1, 1), generators=(12, 20)).generators == 12
    # Without any variance between classifiers, the cheapest does.
    assert allocate(Variances(1, 0, 0), Cost(1, 1)).classifiers == 1
    assert allocate(Variances(0, 1, 0), Cost(100, 1)).classifiers == 8


def test_the_explore_stage_tells_generators_from_classifiers() -> None:
    rng = np.random.default_rng(0)
    scores = {arm: rng.normal(90, 1, 4000) for arm in ("real", "classic", "smote", "gan")}
    scores["gan"] = scores["gan"] + rng.normal(0, 1.5, 4000)
    generative = {arm: arm == "gan" for arm in scores}
    found = explore_variances(scores, generative, "gan", "classic", test=0.3)
    assert found.classifier == pytest.approx(2, rel=0.1)  # of a difference: both arms' classifiers
    assert found.generator == pytest.approx(1.5**2, rel=0.1)
    assert found.test == 0.3
    alone = explore_variances({arm: scores[arm] for arm in ("real", "gan")}, generative, "gan", "real")
    assert alone.generator == alone.classifier
