"""The nets of BAGAN (Mariani et al. 2018): an encoder and a decoder, and a discriminator that begins as the encoder."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.blocks import Dropout, doublings
from augpipe.nn.norms import minibatch_stddev

HIDDEN = 128  # with `stddev`: features between trunk and head


def _channels(width: float, k: int) -> list[int]:
    """Channels of the trunk's levels, from full resolution down; the two convolutions of a level have the same width.

    In the paper they have different widths (32 and 64, 128 and 256). width: multiplier of the paper's.
    """
    paper = [64, 128, 256, 256, 256] if k <= 2 else [32, 64, 128, 256, 256]
    return [max(8, round(width * w)) for w in [*paper, *[256] * k][:k]]


class Trunk(nn.Module):
    """(N,C,H,W) in [-1,1] → features (N,F): a strided and a plain conv3 per halving, no norms."""

    def __init__(self, spec: ImageSpec, *, width: float, dropout: float) -> None:
        super().__init__()
        base, k = doublings(spec.size)
        layers: list[nn.Module] = []
        below = spec.channels
        for channels in _channels(width, k):
            layers += [nn.Conv2d(below, channels, 3, 2, 1), nn.LeakyReLU(0.2), Dropout(dropout)]
            layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.LeakyReLU(0.2), Dropout(dropout)]
            below = channels
        self.layers = nn.Sequential(*layers)
        self.width = below * base**2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.layers(x).flatten(1)
        return out


class Decoder(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]; `classes`: multiply the latent by an embedding of the label."""

    def __init__(self, spec: ImageSpec, *, width: float, latent: int, classes: int | None) -> None:
        super().__init__()
        self.base, k = doublings(spec.size)
        hidden = max(64, round(width * 1024))
        channels = _channels(width, k)[::-1]
        self.embedding = None if classes is None else nn.Embedding(classes, latent)
        self.first = nn.Linear(latent, hidden)
        self.second = nn.Linear(hidden, channels[0] * self.base**2)
        layers: list[nn.Module] = []
        for i, level in enumerate(channels):
            below = channels[max(0, i - 1)]
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(below, level, 5, 1, 2), nn.ReLU()]
        self.up = nn.Sequential(*layers)
        self.last = nn.Conv2d(channels[-1], spec.channels, 3, 1, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if self.embedding is not None:
            z = z * self.embedding(labels)
        x = F.relu(self.second(F.relu(self.first(z))))
        x = self.up(x.view(len(z), -1, self.base, self.base))
        out: torch.Tensor = torch.tanh(self.last(x))
        return out


class Encoder(nn.Module):
    """(N,C,H,W) in [-1,1] → latent (N,Z)."""

    def __init__(self, spec: ImageSpec, *, width: float, latent: int, dropout: float) -> None:
        super().__init__()
        self.trunk = Trunk(spec, width=width, dropout=dropout)
        self.last = nn.Linear(self.trunk.width, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.last(self.trunk(x))
        return out


class Discriminator(nn.Module):
    """(N,C,H,W), labels (N,) → float32 logits (N,K+1) over classes and FAKE; with `critic` scores (N,), as BAGAN-GP.

    stddev: add the minibatch standard deviation within each class to the features.
    """

    def __init__(
        self, spec: ImageSpec, classes: int, *, width: float, dropout: float, stddev: bool, critic: bool
    ) -> None:
        super().__init__()
        self.trunk = Trunk(spec, width=width, dropout=dropout)
        # How much diversity is normal depends on the class, which a linear head cannot express: add a layer.
        self.mixed = nn.Linear(self.trunk.width + 1, HIDDEN) if stddev else None
        features = HIDDEN if stddev else self.trunk.width
        self.head = nn.Linear(features, 1 if critic else classes + 1)
        self.embedding = nn.Embedding(classes, features) if critic else None

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = self.trunk(x)
        if self.mixed is not None:
            h = F.leaky_relu(self.mixed(minibatch_stddev(h[:, :, None, None]).flatten(1)), 0.2)
        if self.embedding is None:
            out: torch.Tensor = self.head(h)
            return out.float()
        # Projection (Miyato & Koyama 2018), scaled to the magnitude of the linear head.
        similarity = (h * self.embedding(labels)).sum(1) / math.sqrt(h.shape[1])
        score: torch.Tensor = self.head(h).squeeze(1) + similarity
        return score.float()
