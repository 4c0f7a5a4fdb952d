"""MixUp and CutMix: what is mixed, and with which shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augpipe.nn.blend import ALPHA, Blender, blends


def numbered(n: int = 64, size: int = 16) -> torch.Tensor:
    """Every pixel of image i is i."""
    return torch.arange(n).float()[:, None, None, None].expand(n, 2, size, size).clone()


def test_mixup_is_the_weighted_sum() -> None:
    found = Blender("mixup", 1.0, np.random.default_rng(0))(numbered())
    expected = found.weight * torch.arange(64) + (1 - found.weight) * found.other
    assert torch.allclose(found.images[:, 0, 0, 0], expected, atol=1e-4)
    assert torch.allclose(found.images.std((1, 2, 3)), torch.zeros(64), atol=1e-4)
    assert sorted(found.other.tolist()) == list(range(64))


def test_cutmix_takes_a_box_whose_area_is_the_partners_share() -> None:
    x = numbered()
    found = Blender("cutmix", 1.0, np.random.default_rng(0))(x)
    for i in range(64):
        other = int(found.other[i])
        taken = found.images[i] != i if other != i else torch.zeros(2, 16, 16, dtype=torch.bool)
        assert torch.equal(found.images[i][taken], torch.full_like(found.images[i][taken], other))
        assert torch.equal(taken[0], taken[1])
        if other != i:
            assert float(found.weight[i]) == pytest.approx(1 - float(taken[0].float().mean()))
        rows, columns = taken[0].any(1).nonzero().flatten(), taken[0].any(0).nonzero().flatten()
        if len(rows):  # one box without holes
            assert len(rows) == int(rows[-1] - rows[0]) + 1
            assert int(taken[0].sum()) == len(rows) * len(columns)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(blends)), st.floats(0.05, 5), st.integers(0, 10_000))
def test_shares_lie_in_0_to_1_and_follow_from_the_stream(kind, alpha, seed) -> None:
    one, again = (Blender(kind, alpha, np.random.default_rng(seed))(numbered(16)) for _ in range(2))
    assert torch.equal(one.images, again.images) and torch.equal(one.weight, again.weight)
    assert ((one.weight >= 0) & (one.weight <= 1)).all()


def test_shares_are_betas_of_the_papers_alpha() -> None:
    own = torch.cat([Blender("mixup", None, np.random.default_rng(s))(numbered()).weight for s in range(60)])
    a = ALPHA["mixup"]
    # Var of Beta(a, a) = 1 / (4 (2a + 1))
    assert float(own.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(own.var()) == pytest.approx(1 / (4 * (2 * a + 1)), abs=0.02)


def test_a_box_of_cutmix_covers_its_share_on_average() -> None:
    """Centred anywhere and cut off at the edges a box of side s·n covers (s - s²/4)² of the image."""
    rng = np.random.default_rng(0)
    x, own = numbered(4000, 32), torch.full((4000,), 0.75)
    left = blends["cutmix"](x, torch.arange(4000).flip(0), own, rng).weight
    side = 0.5
    assert float(1 - left.mean()) == pytest.approx((side - side**2 / 4) ** 2, abs=0.01)
