"""Codes of InfoGAN (Chen et al. 2016) that are functions of a Gaussian latent."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def categories(z: torch.Tensor, k: int) -> torch.Tensor:
    """Latents (N,Z) → the index of the largest of the first k values, (N,).

    Uniform over the k categories for z ~ N(0,1), and the same after truncation.
    """
    return z[:, :k].argmax(1)


class WithCodes(nn.Module):
    """A generator whose first k latents count by their category only; latent (N,Z), labels (N,) → (N,C,H,W).

    Its continuous codes are the latents after them, as they are.
    """

    def __init__(self, net: nn.Module, k: int) -> None:
        super().__init__()
        self.net, self.k = net, k

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        category = F.one_hot(categories(z, self.k), self.k).to(z.dtype)
        out: torch.Tensor = self.net(torch.cat([category, z[:, self.k :]], 1), labels)
        return out


def code_losses(guess: torch.Tensor, z: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Guess (N,k+C) of the codes of latents (N,Z) → -E[log Q(c|x)] of the category and of the C continuous codes.

    The negative of the bound of the mutual information (Chen et al. 2016, eq. 5), without constants: cross-entropy, and
    half the squared error, which is a Gaussian of variance 1. 0 for codes that there are none of.
    """
    logits, means = guess[:, :k], guess[:, k:]
    categorical = F.cross_entropy(logits, categories(z, k)) if k else guess.new_zeros(())
    if not means.shape[1]:
        return categorical, guess.new_zeros(())
    codes = z[:, k : guess.shape[1]]
    return categorical, 0.5 * (codes - means).square().sum(1).mean()
