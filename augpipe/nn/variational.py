"""A class-conditional encoder and decoder with normal posteriors (Kingma & Welling 2014)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.residual import Residual


class Posterior(NamedTuple):
    """mean, log_variance (N,Z): of the normal distribution of an image's latent."""

    mean: torch.Tensor
    log_variance: torch.Tensor


def kl_divergence(posterior: Posterior) -> torch.Tensor:
    """KL(N(mean, variance) || N(0,1)) of each latent and dimension, (N,Z) (Kingma & Welling 2014, appendix B)."""
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class VariationalNet(nn.Module):
    """Encoder and decoder; forward is the decoder: latents (N,Z), labels (N,) → means (N,C,H,W) of images in [-1,1].

    The means have no bound: a tanh would saturate at images that are mostly black, and pass no gradient any more.
    width: channels at full resolution.
    """

    def __init__(self, spec: ImageSpec, classes: int, *, width: float, latent: int) -> None:
        super().__init__()
        self.base, k = doublings(spec.size)
        channels = widths(width, k, most=4)
        vector = channels[0]
        pairs = list(pairwise(channels))
        self.encoder_class, self.decoder_class = nn.Embedding(classes, vector), nn.Embedding(classes, vector)
        self.stem = nn.Conv2d(spec.channels, channels[-1], 3, 1, 1)
        self.down = nn.ModuleList(Residual(b, a, vector, resample="down") for a, b in reversed(pairs))
        self.posterior = nn.Linear(channels[0] * self.base**2, 2 * latent)
        self.first = nn.Linear(latent, channels[0] * self.base**2)
        self.latent = nn.Linear(latent, vector)
        self.up = nn.ModuleList(Residual(a, b, vector, resample="up") for a, b in pairs)
        self.last = nn.Conv2d(channels[-1], spec.channels, 3, 1, 1)

    def encode(self, x: torch.Tensor, labels: torch.Tensor) -> Posterior:
        """(N,C,H,W) in [-1,1], labels (N,) → float32 moments of the latents."""
        h, vector = self.stem(x), F.silu(self.encoder_class(labels))
        for block in self.down:
            h = block(h, vector)
        mean, log_variance = self.posterior(F.silu(h).flatten(1)).float().chunk(2, 1)
        # Beyond these, exp() of the variance leaves float32's range before the loss pulls it back.
        return Posterior(mean, log_variance.clamp(-20, 10))

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vector = F.silu(self.decoder_class(labels) + self.latent(z))
        h = self.first(z).unflatten(1, (-1, self.base, self.base))
        for block in self.up:
            h = block(h, vector)
        out: torch.Tensor = self.last(F.silu(h))
        return out
