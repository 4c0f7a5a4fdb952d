"""An encoder of images to latents."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.blocks import EqualConv2d, EqualLinear, doublings, widths
from augpipe.nn.critics import DownBlock, leaky


class LatentEncoder(nn.Module):
    """(N,C,H,W) in [-1,1] → latents (N,Z). width: channels at full resolution, doubled with each halving of it."""

    def __init__(self, spec: ImageSpec, latent: int, *, width: float) -> None:
        super().__init__()
        base, k = doublings(spec.size)
        channels = widths(width, k)[::-1]
        self.from_image = EqualConv2d(spec.channels, channels[0], 1, gain=1.0)
        self.down = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(channels)))
        self.last = EqualLinear(channels[-1] * base**2, latent, gain=1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.last(self.down(leaky(self.from_image(x))).flatten(1))
        return out
