"""DiffAugment (Zhao et al. 2020): differentiable augmentation of whole batches, for reals and fakes alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from augpipe.kinds import Registry

Op = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
ops: Registry[Op] = Registry("augmentation")


def diff_augment(x: torch.Tensor, names: Sequence[str], rng: torch.Generator) -> torch.Tensor:
    """float (N,C,H,W) in [-1,1] → the same shape, each image changed by its own draw; differentiable in x."""
    for name in names:
        x = ops[name](x, rng)
    return x


def _uniform(n: int, rng: torch.Generator, x: torch.Tensor) -> torch.Tensor:
    """U(0,1) of shape (n,1,1,1) in x's type."""
    return torch.rand(n, 1, 1, 1, generator=rng, device=rng.device).to(x.device, x.dtype)


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
    draw: dict[str, Any] = {"generator": rng, "device": rng.device}
    dy = torch.randint(-reach_y, reach_y + 1, (n, 1), **draw).to(x.device)
    dx = torch.randint(-reach_x, reach_x + 1, (n, 1), **draw).to(x.device)
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
    draw: dict[str, Any] = {"generator": rng, "device": rng.device}
    cy = torch.randint(0, h + (1 - half_y % 2), (n, 1), **draw).to(x.device)
    cx = torch.randint(0, w + (1 - half_x % 2), (n, 1), **draw).to(x.device)
    ys, xs = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    in_y = (ys >= cy - half_y // 2) & (ys < cy - half_y // 2 + half_y)
    in_x = (xs >= cx - half_x // 2) & (xs < cx - half_x // 2 + half_x)
    return x.masked_fill((in_y[:, :, None] & in_x[:, None, :])[:, None], 0.0)
