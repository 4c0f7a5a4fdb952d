"""Differentiable augmentation of whole batches, for reals and fakes alike.

DiffAugment (Zhao et al. 2020) applies every operation to every image; ADA (Karras et al. 2020) each with a
probability p that follows how much the discriminator overfits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.registry import Registry

Op = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
ops: Registry[Op] = Registry("augmentation")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        ops[name]
    return names


# Names of operations, as a config gives them.
Operations = Annotated[tuple[str, ...], AfterValidator(_known)]


def diff_augment(
    x: torch.Tensor, names: Sequence[str], rng: torch.Generator, p: float = 1.0
) -> torch.Tensor:
    """float (N,C,H,W) in [-1,1] → the same shape, each image changed by its own draw; differentiable in x.

    p: probability of each operation for each image; below .8 it does not leak into what a generator
    draws (Karras et al. 2020, 2.2), since images as they are stay the most frequent ones.
    """
    for name in names:
        changed = ops[name](x, rng)
        x = changed if p >= 1 else torch.where(_uniform(len(x), rng, x) < p, changed, x)
    return x


class Adaptive:
    """ADA's controller: p rises while the discriminator is too sure of the reals, else falls.

    Overfitting is told by r = E[sign D(real)]; every `every` batches p moves by as many images as were
    seen over `kimg`, up where r is above `target`, down where it is below (Karras et al. 2020, 3.1).
    """

    MOST = 0.8  # beyond, augmentations begin to show in samples

    def __init__(self, kimg: float = 500.0, target: float = 0.6, every: int = 4) -> None:
        self.kimg, self.target, self.every = kimg, target, every
        self.p = 0.0
        self._signs, self._images, self._batches = 0.0, 0, 0

    def observe(self, real: torch.Tensor) -> None:
        """The discriminator's scores (N,) of a batch of reals: above 0 means real."""
        self._signs += float(real.detach().sign().sum())
        self._images += len(real)
        self._batches += 1
        if self._batches == self.every:
            surer = self._signs / self._images > self.target
            step = self._images / (self.kimg * 1000)
            self.p = min(self.MOST, max(0.0, self.p + (step if surer else -step)))
            self._signs, self._images, self._batches = 0.0, 0, 0

    def state_dict(self) -> dict[str, float]:
        """p, and what was seen since it last moved."""
        return {
            "p": self.p,
            "signs": self._signs,
            "images": self._images,
            "batches": self._batches,
        }

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put back what `state_dict` gave."""
        self.p, self._signs = state["p"], state["signs"]
        self._images, self._batches = int(state["images"]), int(state["batches"])


def _uniform(n: int, rng: torch.Generator, x: torch.Tensor) -> torch.Tensor:
    """U(0,1) of shape (n,1,1,1) in x's type."""
    return _each(n, rng, torch.rand, 1, 1, 1).to(x.device, x.dtype)


def _each(
    n: int, rng: torch.Generator, draw: Callable[..., torch.Tensor], *shape: int
) -> torch.Tensor:
    """n rows of what `draw` gives, those of this process where a batch is divided among several."""
    drawn = draw(parallel.everyone(n), *shape, generator=rng, device=rng.device)
    return parallel.own(drawn)


def _whole(n: int, low: int, high: int, rng: torch.Generator, device: torch.device) -> torch.Tensor:
    """Whole numbers from `low` up to `high` - 1, (n,1)."""
    shape = (parallel.everyone(n), 1)
    drawn = torch.randint(low, high, shape, generator=rng, device=rng.device)
    return parallel.own(drawn).to(device)


@ops.register("brightness")
def brightness(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Add U(-0.5, 0.5) to an image."""
    return x + (_uniform(len(x), rng, x) - 0.5)


@ops.register("saturation")
def saturation(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Scale the distance from a pixel's grey value by U(0, 2); leaves grey images as they are."""
    grey = x.mean(dim=1, keepdim=True)
    return (x - grey) * (_uniform(len(x), rng, x) * 2) + grey


@ops.register("contrast")
def contrast(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Scale the distance from an image's mean by U(0.5, 1.5)."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (_uniform(len(x), rng, x) + 0.5) + mean


@ops.register("translation")
def translation(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shift by up to 1/8 of a side in whole pixels; what comes in is -1 (black)."""
    n, _, h, w = x.shape
    reach_y, reach_x = int(h / 8 + 0.5), int(w / 8 + 0.5)
    dy = _whole(n, -reach_y, reach_y + 1, rng, x.device)
    dx = _whole(n, -reach_x, reach_x + 1, rng, x.device)
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
    cy = _whole(n, 0, h + (1 - half_y % 2), rng, x.device)
    cx = _whole(n, 0, w + (1 - half_x % 2), rng, x.device)
    ys, xs = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    in_y = (ys >= cy - half_y // 2) & (ys < cy - half_y // 2 + half_y)
    in_x = (xs >= cx - half_x // 2) & (xs < cx - half_x // 2 + half_x)
    return x.masked_fill((in_y[:, :, None] & in_x[:, None, :])[:, None], 0.0)


@ops.register("rotation")
def rotation(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Turn by U(-pi, pi) about the centre; for ADA, as it would show in samples at p = 1."""
    turn = (_uniform(len(x), rng, x).flatten() * 2 - 1) * math.pi
    return _warped(x, torch.ones_like(turn), turn)


@ops.register("scale")
def scale(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Enlarge by exp(N(0, (0.2 ln 2)²)) about the centre, as ADA does."""
    size = torch.exp2(0.2 * _each(len(x), rng, torch.randn)).to(x.device, x.dtype)
    return _warped(x, size, torch.zeros_like(size))


@ops.register("affine")
def affine(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Turn by up to 12 degrees, enlarge by 0.9 to 1.1, shift by up to 8% of a side: classical augmentation."""
    turn, size, dy, dx = (_uniform(len(x), rng, x).flatten() * 2 - 1 for _ in range(4))
    shift = torch.stack([dx, dy], 1) * 0.16  # the grid's sides are 2 long
    return _warped(x, 1 + 0.1 * size, turn * math.radians(12), shift)


@ops.register("flip")
def flip(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Mirror half of the images: only for classes that a mirror keeps."""
    return torch.where(_uniform(len(x), rng, x) < 0.5, x.flip(3), x)


def _warped(
    x: torch.Tensor, size: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor | None = None
) -> torch.Tensor:
    """Enlarged by `size` (N,), turned by `turn` (N,), moved by `shift` (N,2); what comes in is -1 (black)."""
    cos, sin = torch.cos(turn) / size, torch.sin(turn) / size
    dx, dy = (torch.zeros_like(size),) * 2 if shift is None else shift.unbind(1)
    # Where each place of the result is read: back by the shift, then turned and shrunk about the centre.
    back_x, back_y = sin * dy - cos * dx, -sin * dx - cos * dy
    matrix = torch.stack([cos, -sin, back_x, sin, cos, back_y], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    # Shifted by one, black is the zero that grid_sample pads with.
    return F.grid_sample(x + 1, grid, padding_mode="zeros", align_corners=False) - 1
