"""A residual critic without norms (Karras et al. 2020, section 4.1), with a projection of the class."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.blocks import EqualConv2d, EqualLinear, doublings, widths
from augpipe.nn.norms import minibatch_stddev


def leaky(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU with slope 0.2, times sqrt(2): about the variance of its input (Karras et al. 2020, appendix B)."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class DownBlock(nn.Module):
    """Two conv3, the second at half the resolution, beside a skip connection; (N,I,H,W) → (N,O,H/2,W/2)."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualConv2d(i, i, 3, gain=1.0), EqualConv2d(i, o, 3, gain=1.0)
        self.skip = EqualConv2d(i, o, 1, gain=1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = leaky(self.conv2(F.avg_pool2d(leaky(self.conv1(x)), 2)))
        out: torch.Tensor = h + self.skip(F.avg_pool2d(x, 2))
        return out * math.sqrt(0.5)  # the variance of one branch


class ResidualCritic(nn.Module):
    """(N,C,H,W) in [-1,1], labels (N,) → logits (N,), float32; above 0 means real and of the given label.

    width: channels at full resolution; doubled with each halving of the resolution, up to eight times that.
    Give batches sorted by class (see `minibatch_stddev`).
    """

    def __init__(self, spec: ImageSpec, classes: int, *, width: float) -> None:
        super().__init__()
        base, k = doublings(spec.size)
        channels = widths(width, k)[::-1]
        self.from_image = EqualConv2d(spec.channels, channels[0], 1, gain=1.0)
        self.down = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(channels))
        self.conv = EqualConv2d(channels[-1] + 1, channels[-1], 3, gain=1.0)
        self.flat = EqualLinear(channels[-1] * base**2, channels[-1], gain=1.0)
        self.last = EqualLinear(channels[-1], 1, gain=1.0)
        self.embedding = nn.Embedding(classes, channels[-1]) if classes > 1 else None

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) → feature maps before the last block, at 8 to 14 pixels a side."""
        h = leaky(self.from_image(x))
        for block in list(self.down)[:-1]:
            h = block(h)
        return h

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Score by projection (Miyato & Koyama 2018, eq. 5)."""
        h = self.down[-1](self.features(x))
        h = leaky(self.conv(minibatch_stddev(h)))
        h = leaky(self.flat(h.flatten(1)))
        score: torch.Tensor = self.last(h).squeeze(1)
        if self.embedding is not None:
            score = score + (h * self.embedding(labels)).sum(1) / math.sqrt(h.shape[1])
        return score.float()
