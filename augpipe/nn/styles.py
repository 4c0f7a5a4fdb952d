"""Parts of a style-based generator (Karras et al. 2019, 2020): mapping, modulated convolutions, noise, mixing."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.nn.blocks import EqualLinear
from augpipe.nn.critics import leaky
from augpipe.nn.norms import pixel_norm

CLASS_SCALE = 0.2  # of the class's embedding in the mapping's input, relative to the latent
MAPPING_RATE = 0.01  # learning rate of the mapping network, relative to the others (Karras et al. 2019, appendix C)


class StyleMapping(nn.Module):
    """Latents (N,Z), labels (N,) → styles w (N,Z), float32; `layers` fully connected layers.

    The input is the latent times an embedding of the class and, smaller, that embedding itself, all normalised. With
    the embedding beside the latent, as in Karras et al. (2020, ADA), all images of a class soon became alike: a style
    that depends on the class alone is learned before one that depends on both.
    """

    def __init__(self, latent: int, classes: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent) if classes > 1 else None
        inputs = [latent * (2 if classes > 1 else 1), *[latent] * (layers - 1)]
        self.layers = nn.ModuleList(EqualLinear(i, latent, gain=1.0, rate=MAPPING_RATE) for i in inputs)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        with torch.autocast(z.device.type, enabled=False):
            h = pixel_norm(z.float())
            if self.embedding is not None:
                of_class = pixel_norm(self.embedding(labels))
                h = torch.cat([pixel_norm(h * of_class), CLASS_SCALE * of_class], 1)
            for layer in self.layers:
                h = leaky(layer(h))
        return h


def demodulation(weight: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """weight (O,I,k,k), style (N,I) → (N,O): 1 / |weight · style| of each output (Karras et al. 2020, eq. 3)."""
    by_input = weight.float().square().sum((2, 3))
    return torch.rsqrt(style.float().square() @ by_input.T + 1e-8)


class ModulatedConv2d(nn.Module):
    """Convolution whose input channels are scaled by the style; x (N,I,H,W), w (N,W) → (N,O,H,W).

    demodulate: scale each output so that its modulated weights have norm 1. Channels are scaled before and after one
    convolution with common weights, which equals a convolution with weights of its own for each image.
    """

    def __init__(self, i: int, o: int, kernel: int, styles: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(o, i, kernel, kernel))
        self.affine = EqualLinear(styles, i, gain=1.0)
        self.scale, self.padding, self.demodulate = 1 / math.sqrt(i * kernel * kernel), kernel // 2, demodulate

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Weights N(0,1)."""
        nn.init.normal_(self.weight, generator=rng)

    def style(self, w: torch.Tensor) -> torch.Tensor:
        """w (N,W) → the factors of the input channels (N,I), float32; 1 at the start, on average."""
        with torch.autocast(w.device.type, enabled=False):
            out: torch.Tensor = 1 + self.affine(w.float())
        return out

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """See the class."""
        style, weight = self.style(w), self.weight * self.scale
        out = F.conv2d(x * style[:, :, None, None].to(x.dtype), weight, padding=self.padding)
        if not self.demodulate:
            return out
        with torch.autocast(w.device.type, enabled=False):
            factors = demodulation(weight, style)
        return out * factors[:, :, None, None].to(out.dtype)


def upsample(x: torch.Tensor) -> torch.Tensor:
    """(N,C,H,W) → (N,C,2H,2W), bilinear: zeros between pixels, then the filter [1,3,3,1], as in the paper."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class StyledConv(nn.Module):
    """Modulated conv3, then noise with a learned strength, bias and leaky ReLU.

    up: double the resolution after the convolution, which is four times cheaper there.
    x (N,I,H,W), w (N,W), noise (N,1,H',W') or None for none → (N,O,H',W').
    """

    def __init__(self, i: int, o: int, styles: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv, self.up = ModulatedConv2d(i, o, 3, styles), up
        self.strength, self.bias = nn.Parameter(torch.empty(())), nn.Parameter(torch.empty(o))

    def draw_parameters(self, rng: torch.Generator) -> None:
        """No noise and no bias at the start."""
        nn.init.zeros_(self.strength)
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """See the class."""
        x = self.conv(x, w)
        x = upsample(x) if self.up else x
        if noise is not None:
            x = x + (self.strength * noise).to(x.dtype)
        return leaky(x + self.bias[:, None, None].to(x.dtype))


class ToImage(nn.Module):
    """Modulated 1x1 convolution without demodulation, and a bias; x (N,I,H,W), w (N,W) → (N,C,H,W),
    float32, since bfloat16 has fewer levels than images."""

    def __init__(self, i: int, o: int, styles: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(i, o, 1, styles, demodulate=False)
        self.bias = nn.Parameter(torch.empty(o))

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Bias 0."""
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.conv(x, w).float() + self.bias[:, None, None]
        return out


def mixed_styles(first: torch.Tensor, second: torch.Tensor, layers: int, crossover: torch.Tensor) -> torch.Tensor:
    """w (N,W) twice → styles of all layers (N,L,W): the first before layer crossover[n], the second from it on."""
    before = torch.arange(layers, device=first.device) < crossover[:, None]
    return torch.where(before[:, :, None], first[:, None], second[:, None])
