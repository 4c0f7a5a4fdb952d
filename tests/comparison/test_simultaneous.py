"""Simultaneous intervals against those of pairs, of independent members, and Dunnett's tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from augpipe.comparison.paired import Difference, difference
from augpipe.comparison.simultaneous import correlation, simultaneous
from augpipe.comparison.units import Units

TRUTH = np.repeat(np.arange(4), 50).astype(np.int64)
UNITS = Units(TRUTH)


def outputs(seed: int, level: float = 0.8, g: int = 4, spread: float = 0.0) -> np.ndarray:
    """Predictions of trainings whose rate varies by `spread` between generators."""
    rng = np.random.default_rng(seed)
    rates = np.clip(level + spread * rng.normal(size=(g, 1, 1)), 0, 1)
    right = rng.random((g, 2, len(TRUTH))) < rates
    return np.where(right, TRUTH, (TRUTH + 1) % 4)


def pair(seed: int, name: str, **options: object) -> Difference:
    return difference(outputs(seed, 0.85), outputs(99), UNITS, name=name, **options)  # type: ignore[arg-type]


def test_a_family_of_one_has_the_pairs_interval_and_p() -> None:
    one = pair(0, "a")
    [alone] = simultaneous([one], UNITS)
    assert (alone.low, alone.high) == pytest.approx(one.interval(0.05)) and alone.p == one.p
    assert simultaneous([], UNITS) == []


def test_the_order_does_not_matter_and_the_names_are_the_seed() -> None:
    family = [pair(s, f"arm {s}") for s in range(4)]
    first, other = simultaneous(family, UNITS), simultaneous(family[::-1], UNITS)[::-1]
    assert [m.name for m in first] == [m.name for m in other]
    for a, b in zip(first, other, strict=True):
        assert (a.low, a.high, a.p) == (b.low, b.high, b.p)
        assert (a.p < 0.05) == (a.low > 0 or a.high < 0)
    renamed = [replace(m, name=f"{m.name}!") for m in family]
    assert simultaneous(renamed, UNITS)[0].level == pytest.approx(first[0].level, rel=0.1)
    with pytest.raises(ValueError, match="need different names"):
        simultaneous([family[0], family[0]], UNITS)
    short = difference(outputs(0, g=3), outputs(1, g=3), UNITS, name="short")
    with pytest.raises(ValueError, match=r"share their replicates; got \[3, 4\]"):
        simultaneous([family[0], short], UNITS)


def designed_vectors(n: int) -> np.ndarray:
    """Orthonormal vectors (n,U), each with mean 0 within every class."""
    raw = np.random.default_rng(0).normal(size=(len(TRUTH), n))
    for label in range(4):
        raw[label == TRUTH] -= raw[label == TRUTH].mean(0)
    q: np.ndarray = np.linalg.qr(raw)[0].T
    return q


def designed(vectors: np.ndarray) -> list[Difference]:
    """Members whose estimates have the correlation of these vectors (J,U), with known variance."""
    return [
        replace(pair(0, f"m{j}"), influence=v, values=np.zeros((4, 2)), mean=0.0, hidden=0.0)
        for j, v in enumerate(vectors)
    ]


def test_levels_are_sidaks_and_dunnetts() -> None:
    """Critical values of the largest of k |z|:
    independent, and all against one control (Dunnett 1964, table, infinite df).
    """
    q = designed_vectors(5)
    apart = simultaneous(designed(q[:3]), UNITS, draws=200_000)[0].level
    assert apart == pytest.approx(1 - 0.95 ** (1 / 3), rel=0.03)
    for k, critical in ((2, 2.21), (3, 2.35), (4, 2.44)):
        members = designed(q[1 : k + 1] - q[0])
        assert correlation(members, UNITS)[0, 1] == pytest.approx(0.5)
        level = simultaneous(members, UNITS, draws=200_000)[0].level
        assert stats.norm.isf(level / 2) == pytest.approx(critical, abs=0.015)
    same = simultaneous(designed(np.stack([q[0], q[0], q[0]])), UNITS, draws=200_000)[0]
    assert same.level == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("k, df", [(2, 4), (5, 8), (5, 20), (9, 60)])
def test_with_few_degrees_of_freedom_the_joint_level_is_that_of_the_multivariate_t(k: int, df: int) -> None:
    """k arms against one: the exact coverage of the intervals (Dunnett; scipy's integral) is 95%, or a little above."""
    q = designed_vectors(k + 1)
    members = [replace(m, df=float(df)) for m in designed(q[1:] - q[0])]
    joint = simultaneous(members, UNITS)
    critical = joint[0].high / members[0].error
    assert all(m.high == pytest.approx(critical * member.error) for m, member in zip(joint, members, strict=True))
    shape = np.full((k, k), 0.5) + 0.5 * np.eye(k)
    bound = np.full(k, critical)
    covered = stats.multivariate_t(np.zeros(k), shape, df=df).cdf(bound, lower_limit=-bound, random_state=0)
    assert 0.945 < covered < 0.97


@pytest.mark.parametrize("spread, expected", [(0.0, 0.5), (0.12, 0.1)])
def test_the_correlation_is_that_of_fresh_differences(spread: float, expected: float) -> None:
    """Two arms against one, and a class's recall with the macro recall: over 200 fresh test sets and trainings.

    If generators of the first arm vary, its difference has less in common with the other arm's.
    """
    estimates, matrices = [], []
    for s in range(200):
        a, b, c = (outputs(1000 * s + i, g=12, spread=spread * (i == 0)) for i in range(3))
        family = [
            difference(a, c, UNITS, name="a"),
            difference(b, c, UNITS, name="b"),
            difference(a, c, UNITS, classes=(0,), name="a 0"),
        ]
        estimates.append([m.mean for m in family])
        if s < 40:
            matrices.append(correlation(family, UNITS))
    fresh = np.corrcoef(np.array(estimates).T)
    assert np.mean(matrices, 0) == pytest.approx(fresh, abs=0.16)
    assert fresh[0, 1] == pytest.approx(expected, abs=0.15)
