"""Objectives of three classes of 60, 30 and 10 images, and batches of logits for them."""

from __future__ import annotations

import torch

from augpipe.classifiers import objective as objectives
from augpipe.classifiers.options import Mix

COUNTS = {0: 60, 1: 30, 2: 10}
NATURAL = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
EVEN = torch.full((3,), 1 / 3, dtype=torch.float64)


def made(loss: object, weights: str = "none", prior: torch.Tensor = NATURAL, **more: float) -> objectives.Objective:
    mix = Mix(loss=loss, weights=weights, **more)
    return objectives.objective(mix.loss, mix.weights, mix.defer, prior, COUNTS)


def batch(n: int = 40, k: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, k, generator=rng), torch.randint(0, k, (n,), generator=rng)
