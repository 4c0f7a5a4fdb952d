"""Differentiable augmentation of batches, for reals and fakes.

DiffAugment (Zhao et al. 2020) applies every operation to every image; ADA (Karras et al. 2020) applies each with a
probability p that depends on how much the discriminator overfits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.registry import Registry

Op = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
ops: Registry[Op] = Registry("augmentation")


def diff_augment(x: torch.Tensor, names: Sequence[str], rng: torch.Generator, p: float = 1.0) -> torch.Tensor:
    """float (N,C,H,W) in [-1,1] → the same shape, each image augmented independently; differentiable in x.

    p: probability of each operation per image. Below 0.8 augmentations do not leak into generated images
    (Karras et al. 2020, 2.2), since unchanged images stay the most frequent.
    """
    for name in names:
        changed = ops[name](x, rng)
        x = changed if p >= 1 else torch.where(_uniform(len(x), rng, x) < p, changed, x)
    return x


class Adaptive:
    """ADA's controller: raise p while the discriminator overfits, lower it otherwise.

    Overfitting is measured by r = E[sign D(real)]. Every `every` batches p changes by (images seen) / (1000 `kimg`):
    up if r is above `target`, down otherwise (Karras et al. 2020, 3.1).
    """

    MOST = 0.8  # above it, augmentations leak into samples

    def __init__(self, kimg: float = 500.0, target: float = 0.6, every: int = 4) -> None:
        self.kimg, self.target, self.every = kimg, target, every
        self.p = 0.0
        self._signs, self._images, self._batches = 0.0, 0, 0

    def observe(self, real: torch.Tensor) -> None:
        """Record the discriminator's scores (N,) of a batch of reals; above 0 means real."""
        self._signs += float(real.detach().sign().sum())
        self._images += len(real)
        self._batches += 1
        if self._batches == self.every:
            overfits = self._signs / self._images > self.target
            step = self._images / (self.kimg * 1000)
            self.p = min(self.MOST, max(0.0, self.p + (step if overfits else -step)))
            self._signs, self._images, self._batches = 0.0, 0, 0

    def state_dict(self) -> dict[str, float]:
        """p, and the sums since its last change."""
        return {"p": self.p, "signs": self._signs, "images": self._images, "batches": self._batches}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self.p, self._signs = state["p"], state["signs"]
        self._images, self._batches = int(state["images"]), int(state["batches"])


def _uniform(n: int, rng: torch.Generator, x: torch.Tensor) -> torch.Tensor:
    """U(0,1) of shape (n,1,1,1) with x's device and dtype."""
    return _each(n, rng, torch.rand, 1, 1, 1).to(x.device, x.dtype)


def _each(n: int, rng: torch.Generator, draw: Callable[..., torch.Tensor], *shape: int) -> torch.Tensor:
    """Draw rows for the global batch and return this process's n."""
    drawn = draw(parallel.global_count(n), *shape, generator=rng, device=rng.device)
    return parallel.local_rows(drawn)


def _integers(n: int, low: int, high: int, rng: torch.Generator, device: torch.device) -> torch.Tensor:
    """Uniform integers in [low, high), (n,1)."""
    shape = (parallel.global_count(n), 1)
    drawn = torch.randint(low, high, shape, generator=rng, device=rng.device)
    return parallel.local_rows(drawn).to(device)


@ops.register("brightness")
def brightness(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Add U(-0.5, 0.5) to each image."""
    return x + (_uniform(len(x), rng, x) - 0.5)


@ops.register("saturation")
def saturation(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Scale the distance from a pixel's grey value by U(0, 2); grey images do not change."""
    grey = x.mean(dim=1, keepdim=True)
    return (x - grey) * (_uniform(len(x), rng, x) * 2) + grey


@ops.register("contrast")
def contrast(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Scale the distance from an image's mean by U(0.5, 1.5)."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (_uniform(len(x), rng, x) + 0.5) + mean


@ops.register("translation")
def translation(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shift by up to 1/8 of a side in whole pixels; new pixels are -1 (black)."""
    n, _, h, w = x.shape
    reach_y, reach_x = int(h / 8 + 0.5), int(w / 8 + 0.5)
    dy = _integers(n, -reach_y, reach_y + 1, rng, x.device)
    dx = _integers(n, -reach_x, reach_x + 1, rng, x.device)
    # Index into an image with one black line before and after each side: clamped reads hit black.
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    rows = (torch.arange(h, device=x.device) + dy + 1).clamp(0, h + 1)
    cols = (torch.arange(w, device=x.device) + dx + 1).clamp(0, w + 1)
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


@ops.register("cutout")
def cutout(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Set a square of half the side, at a random place, to 0 (mid grey)."""
    n, _, h, w = x.shape
    half_y, half_x = int(h / 2 + 0.5), int(w / 2 + 0.5)
    cy = _integers(n, 0, h + (1 - half_y % 2), rng, x.device)
    cx = _integers(n, 0, w + (1 - half_x % 2), rng, x.device)
    ys, xs = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    in_y = (ys >= cy - half_y // 2) & (ys < cy - half_y // 2 + half_y)
    in_x = (xs >= cx - half_x // 2) & (xs < cx - half_x // 2 + half_x)
    return x.masked_fill((in_y[:, :, None] & in_x[:, None, :])[:, None], 0.0)


@ops.register("rotation")
def rotation(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Rotate by U(-pi, pi) about the centre; for ADA only: at p = 1 it leaks into samples."""
    turn = (_uniform(len(x), rng, x).flatten() * 2 - 1) * math.pi
    return _warped(x, torch.ones_like(turn), turn)


@ops.register("scale")
def scale(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Zoom by exp(N(0, (0.2 ln 2)²)) about the centre, as in ADA."""
    size = torch.exp2(0.2 * _each(len(x), rng, torch.randn)).to(x.device, x.dtype)
    return _warped(x, size, torch.zeros_like(size))


@ops.register("affine")
def affine(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Rotate by up to 12 degrees, zoom by 0.9 to 1.1, shift by up to 8% of a side: classical augmentation."""
    turn, size, dy, dx = (_uniform(len(x), rng, x).flatten() * 2 - 1 for _ in range(4))
    shift = torch.stack([dx, dy], 1) * 0.16  # the grid has side length 2
    return _warped(x, 1 + 0.1 * size, turn * math.radians(12), shift)


@ops.register("flip")
def flip(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Mirror each image horizontally with probability ½; only for classes that mirroring preserves."""
    return torch.where(_uniform(len(x), rng, x) < 0.5, x.flip(3), x)


def _warped(x: torch.Tensor, size: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
    """Zoom by `size` (N,), rotate by `turn` (N,), shift by `shift` (N,2); new pixels are -1 (black)."""
    cos, sin = torch.cos(turn) / size, torch.sin(turn) / size
    dx, dy = (torch.zeros_like(size),) * 2 if shift is None else shift.unbind(1)
    # The inverse map, from output to input positions: undo the shift, then rotation and zoom about the centre.
    back_x, back_y = sin * dy - cos * dx, -sin * dx - cos * dy
    matrix = torch.stack([cos, -sin, back_x, sin, cos, back_y], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    # x + 1 makes black the zero that grid_sample pads with.
    return F.grid_sample(x + 1, grid, padding_mode="zeros", align_corners=False) - 1
