"""The KL divergence of normal posteriors."""

from __future__ import annotations

import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as kl_of

from augpipe.nn.variational import Posterior, kl_divergence


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    mean, log_variance = random(5, 3), random(5, 3).flip(0)
    expected = kl_of(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(Posterior(mean, log_variance)), expected)
