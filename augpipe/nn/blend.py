"""Images put together from two: MixUp and CutMix, an own share for each pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from augpipe.core.registry import Registry


class Blended(NamedTuple):
    """images (N,C,H,W); of item i, the share own[i] (N,) is image i, the rest image other[i] (N,)."""

    images: torch.Tensor
    other: torch.Tensor
    own: torch.Tensor


Blend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, np.random.Generator], Blended]
blends: Registry[Blend] = Registry("blend")
ALPHA = {"mixup": 0.2, "cutmix": 1.0}  # the papers', for large sets


@blends.register("mixup")
def mixup(
    x: torch.Tensor, other: torch.Tensor, own: torch.Tensor, rng: np.random.Generator
) -> Blended:
    """own · x + (1 - own) · x' (Zhang et al. 2018, eq. 1)."""
    images = torch.lerp(x[other], x, own.to(x.dtype)[:, None, None, None])
    return Blended(images, other, own)


@blends.register("cutmix")
def cutmix(
    x: torch.Tensor, other: torch.Tensor, own: torch.Tensor, rng: np.random.Generator
) -> Blended:
    """A box of about 1 - own of the area is x's partner's (Yun et al. 2019, eq. 1 and 2).

    Its centre is uniform over the image, which cuts it off at the edge: `own` becomes what is left.
    """
    n, _, h, w = x.shape
    side = torch.sqrt(1 - own)
    centre = torch.from_numpy(rng.random((2, n))).to(own)
    rows = _within(centre[0] * h, side * h, h)
    columns = _within(centre[1] * w, side * w, w)
    box = rows[:, None, :, None] & columns[:, None, None, :]
    left = 1 - box.float().mean((1, 2, 3))
    return Blended(torch.where(box, x[other], x), other, left)


def _within(middle: torch.Tensor, length: torch.Tensor, n: int) -> torch.Tensor:
    """bool (N,n): whether a pixel's place lies in the interval of `length` about `middle`."""
    at = torch.arange(n, device=middle.device) + 0.5
    return (at - middle[:, None]).abs() < length[:, None] / 2


class Blender:
    """Draws partners and shares for a batch; one random stream."""

    def __init__(self, kind: str, alpha: float | None, rng: np.random.Generator) -> None:
        self._blend, self._rng = blends[kind], rng
        self._alpha = ALPHA[kind] if alpha is None else alpha

    def __call__(self, x: torch.Tensor) -> Blended:
        """Each image with a partner drawn from the batch, its share from Beta(alpha, alpha)."""
        n = len(x)
        other = torch.from_numpy(self._rng.permutation(n)).to(x.device)
        own = torch.from_numpy(self._rng.beta(self._alpha, self._alpha, n)).float().to(x.device)
        return self._blend(x, other, own, self._rng)
