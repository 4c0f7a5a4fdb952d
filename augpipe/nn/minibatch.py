"""Minibatch discrimination: features of an image that depend on the others of its batch."""

from __future__ import annotations

import math

import torch
from torch import nn

from augpipe.core import distributed as parallel


class MinibatchDiscrimination(nn.Module):
    """Append o_b = Σ_j exp(-||M_ib - M_jb||₁), M = f T, for each of B kernels (Salimans et al. 2016, 3.2).

    T: (A,B,C). The sum is over the global batch, the image itself included. (N,A) → (N,A+B).
    """

    def __init__(self, features: int, kernels: int, dimension: int = 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, kernels * dimension))
        self.kernels = kernels

    def draw_parameters(self, rng: torch.Generator) -> None:
        """N(0, 1/A): distances between different images are about 1 a dimension."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(len(self.weight)), generator=rng)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        matrix = (features @ self.weight).float().unflatten(1, (self.kernels, -1))  # (N,B,C)
        others = parallel.gather(matrix)
        distance = (matrix[:, None] - others[None]).abs().sum(3)  # (N,N',B)
        return torch.cat([features, torch.exp(-distance).sum(1).to(features.dtype)], 1)
