"""Self-attention between the positions of a feature map."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core.errors import UserError
from augpipe.nn.blocks import doublings


def attended_level(resolution: int, size: int) -> int:
    """Number of doublings after which feature maps of nets for images of `size` pixels have `resolution` pixels a side.

    UserError if none have.
    """
    base, k = doublings(size)
    sides = [base * 2**level for level in range(k)]
    if resolution not in sides:
        raise UserError(
            f"attention: {resolution} is no resolution of the feature maps for images of {size} pixels; "
            f"choose from {', '.join(map(str, sides))}"
        )
    return sides.index(resolution)


class SelfAttention(nn.Module):
    """x + gain · o with o_j = v(Σ_i softmax_i(f(x_i)ᵀ g(x_j)) h(x_i)) (Zhang et al. 2019, eqs. 1 to 3).

    f, g: 1x1 convolutions to C/8 channels; h: to C/2, v: back to C. f and h are pooled 2x2, as in the authors'
    experiments, which quarters the cost. The gain starts at 0. (N,C,H,W) → (N,C,H,W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        few, half = max(1, channels // 8), max(1, channels // 2)
        self.f, self.g = nn.Conv2d(channels, few, 1, bias=False), nn.Conv2d(channels, few, 1, bias=False)
        self.h, self.v = nn.Conv2d(channels, half, 1, bias=False), nn.Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.empty(()))

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Gain 0; draws nothing."""
        nn.init.zeros_(self.gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        keys, values = F.max_pool2d(self.f(x), 2), F.max_pool2d(self.h(x), 2)
        query, key, value = (part.flatten(2).transpose(1, 2) for part in (self.g(x), keys, values))
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        out: torch.Tensor = x + self.gain * self.v(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))
        return out
