"""Losses as functions. All take logits, never probabilities."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def discriminator_bce(
    real: torch.Tensor, fake: torch.Tensor, real_target: float = 1.0
) -> torch.Tensor:
    """Logits (N,), (M,) → -E[log D(x)] - E[log(1 - D(G(z)))] (Goodfellow et al. 2014, eq. 1).

    real_target below 1 is one-sided label smoothing (Salimans et al. 2016, 3.4).
    """
    return F.binary_cross_entropy_with_logits(
        real, torch.full_like(real, real_target)
    ) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def generator_bce(fake: torch.Tensor) -> torch.Tensor:
    """Logits (N,) → -E[log D(G(z))], the non-saturating loss (Goodfellow et al. 2014, section 3)."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def classification(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Logits (N,K), labels (N,) → cross-entropy; weights (K,) make it a weighted mean."""
    return F.cross_entropy(logits, labels, weight=weights)
