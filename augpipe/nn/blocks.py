"""Layers and weight initialisation that draw from an explicit random generator."""

from __future__ import annotations

import math
from typing import Final, Literal, Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.errors import UserError

LARGEST: Final = 256  # pixels of a side; larger images are not tested


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws from its own generator, not from the global one."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.rng: torch.Generator | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ...) → the same shape; in training each value is 0 with probability p, else x/(1-p)."""
        if not self.training or self.p == 0:
            return x
        if self.rng is None:
            raise RuntimeError("Dropout has no random generator: call use_rng(module, rng) first")
        mask = self._empty_global(x).bernoulli_(1 - self.p, generator=self.rng)
        return x * parallel.local_rows(mask) / (1 - self.p)

    @staticmethod
    def _empty_global(x: torch.Tensor) -> torch.Tensor:
        """Empty tensor for the rows of all processes, in x's memory format: values are drawn in that order."""
        if parallel.size() == 1:
            return torch.empty_like(x)
        shape = (parallel.global_count(len(x)), *x.shape[1:])
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_layout(x))


def _layout(x: torch.Tensor) -> torch.memory_format:
    channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def use_rng(module: nn.Module, rng: torch.Generator) -> None:
    """Make every Dropout in `module` draw from `rng`."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.rng = rng


Scheme = Literal["kaiming", "dcgan", "orthogonal"]


@runtime_checkable
class Drawn(Protocol):
    """A layer that initialises its own parameters."""

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Initialise this layer's parameters from `rng`."""


def initialise(module: nn.Module, rng: torch.Generator, scheme: Scheme = "kaiming") -> None:
    """Initialise every parameter from `rng` (on the CPU): equal architecture and seed give equal weights.

    kaiming: N(0, 2/fan_out) for convolutions, U(±1/sqrt(fan_in)) for linear layers (He et al. 2015).
    dcgan: N(0, 0.02²) for both (Radford et al. 2016). orthogonal: rows or columns of the (out, rest) matrix are
    orthonormal, embeddings too (Saxe et al. 2014; Brock et al. 2019, section 3). Norms start at 1 and 0, biases at 0,
    embeddings otherwise at N(0, 1). Raises TypeError for any other layer with parameters.
    """
    for layer in module.modules():
        names = [name for name, _ in layer.named_parameters(recurse=False)]
        if not names:
            continue
        if isinstance(layer, Drawn):
            layer.draw_parameters(rng)
            continue
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            _draw_weight(layer, rng, scheme)
        elif isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            if weight is not None:
                nn.init.ones_(weight)
        else:
            raise TypeError(f"no initialisation for {type(layer).__name__} ({', '.join(names)})")
        if bias is not None:
            nn.init.zeros_(bias)


def _draw_weight(
    layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding, rng: torch.Generator, scheme: Scheme
) -> None:
    """Initialise a weight; see `initialise`."""
    if scheme == "orthogonal":
        nn.init.orthogonal_(layer.weight, generator=rng)
    elif isinstance(layer, nn.Embedding):
        nn.init.normal_(layer.weight, generator=rng)
    elif scheme == "dcgan":
        nn.init.normal_(layer.weight, 0.0, 0.02, generator=rng)
    elif isinstance(layer, nn.Linear):
        bound = 1 / math.sqrt(layer.in_features)
        nn.init.uniform_(layer.weight, -bound, bound, generator=rng)
    else:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=rng)


class EqualConv2d(nn.Module):
    """Same-size convolution with N(0,1) weights that are scaled by gain/sqrt(fan_in) at run time.

    The run-time scale gives every layer the same effective learning rate under Adam (equalised learning
    rate, Karras et al. 2018, 4.1). (N,I,H,W) → (N,O,H,W) for an odd `kernel`; an even one has no padding.
    """

    def __init__(self, i: int, o: int, kernel: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(o, i, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(o))
        self.scale = gain / math.sqrt(i * kernel * kernel)
        self.padding = kernel // 2 if kernel % 2 else 0

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Weights N(0,1), bias 0."""
        nn.init.normal_(self.weight, generator=rng)
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class EqualLinear(nn.Module):
    """Linear layer with N(0,1) weights that are scaled by gain/sqrt(fan_in) at run time (see EqualConv2d).

    rate: factor of the layer's learning rate; the weights start as large as with 1 (Karras et al. 2019, appendix C).
    """

    def __init__(self, i: int, o: int, gain: float = math.sqrt(2), rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(o, i))
        self.bias = nn.Parameter(torch.empty(o))
        self.scale, self.rate = gain * rate / math.sqrt(i), rate

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Weights N(0, 1/rate²), bias 0."""
        nn.init.normal_(self.weight, std=1 / self.rate, generator=rng)
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,I) → (N,O)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


def doublings(size: int) -> tuple[int, int]:
    """Image size → (base, k) with size = base · 2^k and base in 4..7.

    Raises UserError for any other size, and for one above LARGEST.
    """
    base, k = size, 0
    while base >= 8 and base % 2 == 0:
        base, k = base // 2, k + 1
    if not (4 <= base <= 7 and k >= 1) or size > LARGEST:
        sizes = sorted(b * 2**j for b in range(4, 8) for j in range(1, 7) if b * 2**j <= LARGEST)
        problem = "is not 4, 5, 6 or 7 doubled" if size <= LARGEST else f"is above {LARGEST}"
        raise UserError(f"image size {size} {problem}; choose from {', '.join(map(str, sizes))}")
    return base, k


def widths(width: float, k: int, most: int = 8) -> list[int]:
    """Channels at the base resolution and after each of k doublings: halved each time, at most `most` · width."""
    return [max(8, round(width * min(2 ** (k - level), most))) for level in range(k + 1)]
