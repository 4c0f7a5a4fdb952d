"""Residual blocks whose norms are modulated by a vector, and self-attention; no statistics of the batch.

An image's result depends on its own inputs alone, so it is the same in a batch of any size.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.nn.blocks import Dropout

Resample = Literal["up", "down"]


def channel_norm(x: torch.Tensor) -> torch.Tensor:
    """(N,C,H,W) → the channels of each position with mean 0 and variance 1 (Ba et al. 2016)."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


class ZeroConv2d(nn.Conv2d):
    """A convolution that starts at 0, so that a residual block starts as its skip connection."""

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Weights and bias 0; draws nothing."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class ZeroLinear(nn.Linear):
    """A linear layer that starts at 0."""

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Weights and bias 0; draws nothing."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class ModulatedNorm(nn.Module):
    """Layer norm over the channels of each position, with gain 1 + a and shift b that are linear in a vector.

    The modulation is that of Dhariwal & Nichol (2021, section 3). Their group norm takes three times as long, forwards
    and backwards, on a CPU with channels last (bfloat16, 32 channels of 32x32).
    x (N,C,H,W), vector (N,V) → (N,C,H,W).
    """

    def __init__(self, features: int, vector: int) -> None:
        super().__init__()
        self.modulation = ZeroLinear(vector, 2 * features)

    def forward(self, x: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """See the class."""
        gain, shift = self.modulation(vector)[:, :, None, None].chunk(2, 1)
        out: torch.Tensor = torch.addcmul(shift, channel_norm(x), 1 + gain)
        return out


class Residual(nn.Module):
    """Norm, SiLU, conv3, norm, SiLU, dropout, conv3, beside a skip connection; both norms are modulated.

    resample: double (nearest) or halve (mean of 2x2) the resolution before the first convolution, in both branches.
    x (N,I,H,W), vector (N,V) → (N,O,H',W').
    """

    def __init__(self, i: int, o: int, vector: int, *, resample: Resample | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = ModulatedNorm(i, vector), ModulatedNorm(o, vector)
        self.conv1, self.conv2 = nn.Conv2d(i, o, 3, 1, 1), ZeroConv2d(o, o, 3, 1, 1)
        self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()
        self.dropout, self.resample = Dropout(dropout), resample

    def forward(self, x: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = self._resampled(F.silu(self.norm1(x, vector)))
        h = F.silu(self.norm2(self.conv1(h), vector))
        out: torch.Tensor = self.conv2(self.dropout(h)) + self.skip(self._resampled(x))
        return out

    def _resampled(self, x: torch.Tensor) -> torch.Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2)
        return F.avg_pool2d(x, 2) if self.resample == "down" else x


class Attention(nn.Module):
    """Self-attention over all positions with one head, added to its input (Wang et al. 2018); starts as the identity.

    (N,C,H,W) → (N,C,H,W).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.project, self.out = nn.Conv2d(features, 3 * features, 1), ZeroConv2d(features, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        query, key, value = self.project(channel_norm(x)).flatten(2).transpose(1, 2).chunk(3, 2)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = x + self.out(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        return out


def fourier_features(x: torch.Tensor, n: int) -> torch.Tensor:
    """(N,) → (N,2n): cosines and sines of x at n frequencies from 1 to 1/10,000 (Vaswani et al. 2017, 3.5)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(n, device=x.device) / n)
    angles = x[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)
