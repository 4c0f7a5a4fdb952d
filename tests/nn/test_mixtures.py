"""Mixtures of logistic distributions: draws against the likelihood."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.distributions import Categorical

from augpipe.nn import mixtures


def test_pixels_are_drawn_with_the_probabilities_of_the_likelihood() -> None:
    raw, levels = torch.randn(1, mixtures.parameters(2, 3), generator=torch.Generator().manual_seed(0)), 4
    pixels = torch.tensor(list(itertools.product(range(levels), repeat=2))).view(-1, 2, 1, 1)
    probabilities = mixtures.log_likelihood(raw[:, :, None, None].expand(16, -1, 1, 1), pixels, levels).exp().flatten()
    uniform = torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0))
    drawn = mixtures.draw(raw.expand(40_000, -1), uniform, levels)
    codes = ((drawn + 1) * (levels - 1) / 2).round().long() @ torch.tensor([levels, 1])
    rates = codes.bincount(minlength=16) / 40_000
    assert Categorical(probabilities).probs.sum() == pytest.approx(1)
    torch.testing.assert_close(rates, probabilities, rtol=0, atol=0.008)
