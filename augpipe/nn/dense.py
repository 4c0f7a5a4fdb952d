"""The nets of DAGAN (Antoniou et al. 2017): a U-Net of residual, densely connected blocks, and a critic of pairs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.blocks import Dropout

LEVELS = (64, 64, 128, 128)  # the paper's channels
NOISE_MAPS = (8, 4, 2)  # channels of noise at the decoder's first levels


def _channels(size: int, width: float) -> list[int]:
    """Channels of each level: at most four levels, while the image stays at least 3 pixels wide.

    width: multiplier of the paper's channels.
    """
    n = 0
    while n < len(LEVELS) and size >= 6:
        size, n = -(-size // 2), n + 1
    return [max(8, round(width * w)) for w in LEVELS[:n]]


class Block(nn.Module):
    """`n` conv3, each on the concatenation of all earlier outputs, with a residual from two layers back.

    norm: `batch` or `layer` (over all features of an image). (N,I,H,W) → input and outputs concatenated, (N,`out`,H,W).
    """

    def __init__(self, i: int, o: int, n: int, norm: Literal["batch", "layer"]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i + j * o, o, 3, 1, 1) for j in range(n))
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) if norm == "batch" else nn.GroupNorm(1, o) for _ in range(n))
        self.out = i + n * o

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        concatenated, outputs = x, list[torch.Tensor]()
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(concatenated)), 0.2)
            if len(outputs) >= 2:
                h = h + outputs[-2]
            outputs.append(h)
            concatenated = torch.cat([concatenated, h], 1)
        return concatenated


class DenseUNet(nn.Module):
    """images (N,C,H,W) in [-1,1], latent (N,Z) → images of their classes (N,C,H,W) in [-1,1].

    inner: convolutions of a block.
    """

    def __init__(self, spec: ImageSpec, *, width: float, latent: int, inner: int, dropout: float) -> None:
        super().__init__()
        channels, size = _channels(spec.size, width), spec.size
        below, sizes, skips = spec.channels, [size], []
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for level in channels:
            skips.append(below)
            block = Block(below, level, inner, "batch")
            self.down.append(block)
            self.shrink.append(nn.Conv2d(block.out, level, 3, 2, 1))
            sizes.append(-(-sizes[-1] // 2))
            below = level
        self.drop = Dropout(dropout)
        self.up, self.merge, self.noise = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.places = list(zip(sizes[::-1], NOISE_MAPS, strict=False))[: len(channels)]
        for at, level in enumerate(reversed(channels)):
            maps = NOISE_MAPS[at] if at < len(NOISE_MAPS) else 0
            if maps:
                self.noise.append(nn.Linear(latent, maps * sizes[-1 - at] ** 2))
            # The input is the lower level, the noise, and the encoder's features of this level (skip).
            block = Block(below + maps + skips[-1 - at], level, inner, "batch")
            self.up.append(block)
            self.merge.append(nn.Conv2d(block.out, level, 3, 1, 1))
            below = level
        self.last = nn.Conv2d(below, spec.channels, 3, 1, 1)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """See the class."""
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(x)
            x = self.drop(F.leaky_relu(shrink(block(x)), 0.2))
        for level, skip in enumerate(reversed(skips)):
            if level < len(self.places):
                size, maps = self.places[level]
                x = torch.cat([x, self.noise[level](z).view(-1, maps, size, size).to(x.dtype)], 1)
            x = F.interpolate(x, size=skip.shape[2:])
            x = self.up[level](torch.cat([x, skip.to(x.dtype)], 1))
            x = F.leaky_relu(self.merge[level](x), 0.2)
        out: torch.Tensor = torch.tanh(self.last(x))
        return out


class PairCritic(nn.Module):
    """Pairs of images, concatenated along channels (N,2C,H,W) → scores (N,), float32; inner: as of `DenseUNet`."""

    def __init__(self, spec: ImageSpec, *, width: float, inner: int, dropout: float) -> None:
        super().__init__()
        below, size = 2 * spec.channels, spec.size
        self.blocks, self.shrink = nn.ModuleList(), nn.ModuleList()
        for level in _channels(size, width):
            block = Block(below, level, inner, "layer")
            self.blocks.append(block)
            self.shrink.append(nn.Conv2d(block.out, level, 3, 2, 1))
            below, size = level, -(-size // 2)
        self.drop = Dropout(dropout)
        self.last = nn.Linear(below * size**2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        for block, shrink in zip(self.blocks, self.shrink, strict=True):
            x = self.drop(F.leaky_relu(shrink(block(x)), 0.2))
        score: torch.Tensor = self.last(x.flatten(1))
        return score.squeeze(1).float()
