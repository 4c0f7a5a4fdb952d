"""Every arm against every other: signs, the same values as one pair alone, and wider joint intervals."""

from __future__ import annotations

import numpy as np

from augpipe.comparison.bootstrap import LEVEL
from augpipe.comparison.options import METRICS
from augpipe.comparison.paired import difference
from augpipe.comparison.pairs import COLUMNS, Compared, every_pair
from augpipe.comparison.units import Units

ACCURACY = {"low": 0.5, "middle": 0.7, "high": 0.9}


def planted() -> tuple[dict[str, np.ndarray], Units]:
    """Predictions of three arms, 4 seeds and 300 test images of 3 classes, right with the chance of ACCURACY."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    wrong = (labels + 1) % 3
    arms = {a: np.where(rng.random((4, 1, 300)) < p, labels, wrong) for a, p in ACCURACY.items()}
    return arms, Units(labels, np.array([f"g{i}" for i in range(300)], object))


def test_every_pair_is_there_once_with_its_sign_and_size() -> None:
    arms, units = planted()
    table = every_pair(arms, units, Compared("macro_recall"))
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table.arm, table.reference, strict=True)) == [
        ("middle", "low"),
        ("high", "low"),
        ("high", "middle"),
    ]
    right = {arm: 100 * (of == units.labels).mean() for arm, of in arms.items()}  # classes of equal size
    expected = [right[a] - right[b] for a, b in zip(table.arm, table.reference, strict=True)]
    assert np.allclose(table.difference, expected)
    assert (table.low_joint < table.low).all() and (table.high_joint > table.high).all()
    assert (table.p_joint >= table.p).all() and (table.low_joint > 0).all()


def test_a_pair_is_that_of_the_two_arms_alone_whatever_else_is_compared() -> None:
    arms, units = planted()
    for metric in METRICS:
        if metric == "macro_auc":
            continue
        of = Compared(metric, (0, 1) if metric == "minority_recall" else ())
        table = every_pair(arms, units, of).set_index(["arm", "reference"])
        one = difference(arms["high"], arms["low"], units, metric, of.classes)
        row = table.loc[("high", "low")]
        assert (row.difference, row.low, row.high, row.p) == (one.mean, *one.interval(1 - LEVEL), one.p)
        two = every_pair({a: arms[a] for a in ("low", "high")}, units, of).iloc[0]
        assert (two.low, two.high, two.p) == (row.low, row.high, row.p)
        assert (two.low_joint, two.p_joint) == (two.low, two.p), "a family of one"


def test_one_arm_has_no_pair() -> None:
    arms, units = planted()
    table = every_pair({"low": arms["low"]}, units, Compared("macro_recall"))
    assert not len(table) and tuple(table.columns) == COLUMNS
