"""MixUp and CutMix: blend each image of a batch with a partner, with one weight per pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from augpipe.core.registry import Registry


class Blended(NamedTuple):
    """images (N,C,H,W): item i is weight[i] of image i and 1 - weight[i] of image other[i]; other, weight: (N,)."""

    images: torch.Tensor
    other: torch.Tensor
    weight: torch.Tensor


Blend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, np.random.Generator], Blended]
blends: Registry[Blend] = Registry("blend")
ALPHA = {"mixup": 0.2, "cutmix": 1.0}  # Beta parameter; the papers' values for large data sets


@blends.register("mixup")
def mixup(x: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, rng: np.random.Generator) -> Blended:
    """weight · x + (1 - weight) · x' (Zhang et al. 2018, eq. 1)."""
    images = torch.lerp(x[other], x, weight.to(x.dtype)[:, None, None, None])
    return Blended(images, other, weight)


@blends.register("cutmix")
def cutmix(x: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, rng: np.random.Generator) -> Blended:
    """Paste a box of about 1 - weight of the area from the partner (Yun et al. 2019, eq. 1 and 2).

    The box's centre is uniform over the image and the box is clipped at the edges: the returned weight is
    the fraction of pixels that remain from x.
    """
    n, _, h, w = x.shape
    side = torch.sqrt(1 - weight)  # of the box, as a fraction of the image's
    centre = torch.from_numpy(rng.random((2, n))).to(weight)
    rows = _within(centre[0] * h, side * h, h)
    columns = _within(centre[1] * w, side * w, w)
    box = rows[:, None, :, None] & columns[:, None, None, :]
    remaining = 1 - box.float().mean((1, 2, 3))
    return Blended(torch.where(box, x[other], x), other, remaining)


def _within(middle: torch.Tensor, length: torch.Tensor, n: int) -> torch.Tensor:
    """bool (N,n): whether each pixel centre lies within `length` / 2 of `middle`."""
    at = torch.arange(n, device=middle.device) + 0.5
    return (at - middle[:, None]).abs() < length[:, None] / 2


class Blender:
    """Draw partners and weights for a batch from one random stream."""

    def __init__(self, kind: str, alpha: float | None, rng: np.random.Generator) -> None:
        self._blend, self._rng = blends[kind], rng
        self._alpha = ALPHA[kind] if alpha is None else alpha

    def __call__(self, x: torch.Tensor) -> Blended:
        """Blend each image with a partner drawn from the batch; the weight is drawn from Beta(alpha, alpha)."""
        n = len(x)
        other = torch.from_numpy(self._rng.permutation(n)).to(x.device)
        weight = torch.from_numpy(self._rng.beta(self._alpha, self._alpha, n)).float().to(x.device)
        return self._blend(x, other, weight, self._rng)
