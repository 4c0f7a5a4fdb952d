from __future__ import annotations

import numpy as np
from outcomes import LABELS, runs

from augpipe.comparison import bootstrap as comparison
from augpipe.comparison.explore import Comparison, compare_arms, verdict
from augpipe.comparison.units import Units

UNITS = Units(LABELS)


def told(arms: dict[str, np.ndarray], generative: dict[str, bool], **val: float) -> Comparison:
    means = {a: float(r.mean()) for a, r in arms.items()} | val
    return compare_arms(arms, UNITS, means, generative, "real")


BASE = runs(0.6, 4, 0.005, seed=3)

UP = BASE | (np.random.default_rng(5).random(BASE.shape) < 0.2)

MORE = UP | (np.random.default_rng(6).random(BASE.shape) < 0.4)


def test_sentence_synthetic_images_helped() -> None:
    found = told({"real": BASE, "classic": UP, "gan": MORE}, {"real": False, "classic": False, "gan": True})
    assert found.sentence.startswith("Synthetic images helped: 'gan'")
    assert "'classic'" in found.sentence and "95% interval" in found.sentence


def test_sentence_better_than_the_baseline_but_not_needed() -> None:
    found = told({"real": BASE, "classic": UP.copy(), "gan": UP}, {"real": False, "classic": False, "gan": True})
    assert "beat the baseline, but are not shown to be needed" in found.sentence


def test_sentence_nothing_beat_the_baseline() -> None:
    found = told({"real": BASE, "gan": BASE.copy()}, {"real": False, "gan": True})
    assert found.sentence.startswith("No gain from a trained generator is shown")
    assert "nothing beat the baseline" in found.sentence


def test_sentence_harm_and_who_won_instead() -> None:
    found = told({"real": UP, "classic": MORE, "gan": BASE}, {"real": False, "classic": False, "gan": True})
    assert found.sentence.startswith("Synthetic images did harm")
    assert "'classic' beat the baseline" in found.sentence


def test_sentence_without_generative_arms_and_with_too_few_seeds() -> None:
    found = told({"real": BASE, "classic": UP}, {"real": False, "classic": False})
    assert found.sentence.startswith(
        "No arm shows images of a trained generator; the best arm by validation, 'classic'"
    )
    assert found.sentence.endswith(": better.") and "95% interval" in found.sentence
    few = told({"real": BASE[:2], "gan": MORE[:2]}, {"real": False, "gan": True})
    assert few.sentence.startswith("Too few seeds to say")


def test_arms_are_named_by_val_not_by_test() -> None:
    arms = {"real": BASE, "a": UP, "b": MORE}
    found = told(arms, {"real": False, "a": True, "b": True}, a=0.99, b=0.5)
    assert found.best == "a"


def test_sentence_worse_than_the_strongest_arm_without_a_generator() -> None:
    most = MORE | (np.random.default_rng(8).random(BASE.shape) < 0.6)
    found = told({"real": BASE, "classic": most, "gan": UP}, {"real": False, "classic": False, "gan": True})
    assert "but not the strongest arm without a trained generator" in found.sentence


def test_sentence_another_generative_arm_won() -> None:
    arms = {"real": BASE, "a": BASE.copy(), "b": MORE}
    found = told(arms, {"real": False, "a": True, "b": True}, a=0.99)
    assert found.best == "a" and "'b' beat the baseline, but validation did not choose 'b'" in found.sentence


def test_sentence_few_seeds_without_a_generator() -> None:
    found = told({"real": BASE[:1], "classic": MORE[:1]}, {"real": False, "classic": False})
    assert found.sentence.startswith("Too few seeds to say")


def test_a_verdict_needs_both_the_interval_and_the_corrected_p() -> None:
    enough = Units(np.repeat([0, 1], 50))
    above, below, across = (
        comparison.Interval(mean=(low + high) / 2, low=low, high=high, error=0.01, df=9.0)
        for low, high in ((0.01, 0.05), (-0.05, -0.01), (-0.01, 0.05))
    )
    found = [verdict(one, p, 3, enough) for p in (0.01, 0.2) for one in (above, below, across)]
    nothing = "no difference shown"
    assert found == ["better", "worse", nothing, nothing, nothing, nothing]
