from __future__ import annotations

import pytest
from outcomes import TRUTH, arm

from augpipe.comparison.by_metric import compare_by_metric
from augpipe.comparison.metrics import score
from augpipe.comparison.options import LABELS
from augpipe.comparison.paired import level
from augpipe.comparison.units import Units

UNITS = Units(TRUTH)


@pytest.mark.parametrize("metric", ["macro_f1", "minority_recall", "worst_class_recall"])
def test_all_arms_in_another_metric(metric) -> None:
    """Levels and gains are those of `score`; verdict and joint interval agree; val chooses by what it is given."""
    arms = {"real": arm(0, (2,)), "classic": arm(1, (2,)), "gan": arm(2, ())}
    classes = (1, 2) if metric == "minority_recall" else ()
    val = {"real": 0.5, "classic": 0.6, "gan": 0.7}
    generative = {"real": False, "classic": False, "gan": True}
    result = compare_by_metric(arms, UNITS, metric, classes, val, generative, "real")
    means = {name: score(of, TRUTH, metric, classes).values.mean() for name, of in arms.items()}
    assert {name: of.mean for name, of in result.levels.items()} == pytest.approx(means)
    assert all(of.low <= of.mean <= of.high for of in result.levels.values())
    assert (result.best, result.strongest) == ("gan", "classic")
    gain = result.over_baseline["gan"]
    assert gain.interval.mean == pytest.approx(means["gan"] - means["real"])
    assert gain.verdict == "better" and gain.shown.low > 0 and gain.shown_p < 0.05
    assert gain.shown.low < gain.interval.low, "the interval for both arms is wider than for one"
    assert result.sentence.startswith(f"Synthetic images helped: 'gan' changed {LABELS[metric]} by +")
    assert level(arms["gan"], UNITS, metric, classes).mean == pytest.approx(100 * means["gan"])
