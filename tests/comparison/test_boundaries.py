"""Boundaries of looks against published tables, an independent integral and simulated walks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from augpipe.comparison.boundaries import boundaries, look, repeated_p, spending

# Two-sided .05, equally spaced looks, O'Brien-Fleming type: as of `ldbounds` and gsDesign's `sfLDOF`.
PUBLISHED = {
    1: [1.960],
    2: [2.963, 1.969],
    3: [3.710, 2.511, 1.993],
    4: [4.333, 2.963, 2.359, 2.014],
    5: [4.877, 3.357, 2.680, 2.290, 2.031],
}


@pytest.mark.parametrize("looks", list(PUBLISHED))
def test_boundaries_are_the_published_ones(looks: int) -> None:
    fractions = np.arange(1, looks + 1) / looks
    assert boundaries(fractions) == pytest.approx(PUBLISHED[looks], abs=6e-4)


@pytest.mark.parametrize(
    ("fractions", "published"),
    [((1 / 2, 3 / 4, 1), (2.962588, 2.359018, 2.014084)), ((219 / 441, 329 / 441, 1), (2.974067, 2.366106, 2.012987))],
)
def test_boundaries_of_unequal_looks_are_the_published_ones(
    fractions: tuple[float, ...], published: tuple[float, ...]
) -> None:
    """Printed in the documentation of gsDesign (Anderson), article on integer sample sizes: 2.5% of one side."""
    assert boundaries(fractions) == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize("fractions", [(0.25, 0.5, 1.0), (0.3, 0.35, 0.9), (0.1, 0.97, 1.0)])
@pytest.mark.parametrize("alpha", [0.05, 0.4])
def test_the_error_up_to_each_look_is_what_it_may_spend(fractions: tuple[float, ...], alpha: float) -> None:
    """Against the multivariate normal integral (Genz) of runs within all boundaries."""
    t = np.array(fractions)
    covariance = np.sqrt(np.minimum(t[:, None], t) / np.maximum(t[:, None], t))
    z = boundaries(fractions, alpha)
    for k in (2, 3):
        inside = stats.multivariate_normal.cdf(
            z[:k], cov=covariance[:k, :k], lower_limit=-z[:k], abseps=1e-6, rng=np.random.default_rng(0)
        )
        assert 1 - inside == pytest.approx(spending(fractions, alpha)[k - 1], abs=1e-5)
    assert spending([1.0], alpha) == pytest.approx([alpha])


def test_walks_that_look_five_times_seldom_cross() -> None:
    t = np.array([0.1, 0.3, 0.35, 0.8, 1.0])
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(200_000, 5)) * np.sqrt(np.diff(t, prepend=0))
    z = steps.cumsum(1) / np.sqrt(t)
    assert (np.abs(z) >= boundaries(t)).any(1).mean() == pytest.approx(0.05, abs=0.0015)
    assert (np.abs(z) >= 1.96).any(1).mean() > 0.12  # which uncorrected looks would do


@pytest.mark.parametrize("counts", [[5], [5, 10, 20]])
def test_the_corrected_p_is_below_alpha_exactly_if_the_look_rejects_at_alpha(counts: list[int]) -> None:
    for at, now in enumerate(counts):
        fractions = [count / counts[-1] for count in counts[: at + 1]]
        for alpha in (0.05, 0.3):
            level = look(counts, now, alpha).level
            assert repeated_p(level, fractions) == pytest.approx(alpha, rel=1e-4)
        p = [repeated_p(x, fractions) for x in (0.0, 1e-3, 0.04, 0.9)]
        assert p == sorted(p) and p[0] < 1e-9 and p[-1] <= 1


def test_a_look_says_where_it_stands() -> None:
    second = look([5, 10, 20], 10)
    assert (second.number, second.planned, second.fraction) == (2, 3, 0.5)
    assert second.boundary == pytest.approx(2.963, abs=1e-3)  # the first look, at 1/4, spends next to nothing
    assert look([7], 7).level == pytest.approx(0.05)
    with pytest.raises(ValueError, match=r"6 replicates are none of the planned looks \[5, 10\]"):
        look([5, 10], 6)
    with pytest.raises(ValueError, match=r"must increase within \(0, 1\]"):
        boundaries([0.5, 0.5, 1])
