"""What a critic returns, and what techniques add after its features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from augpipe.nn.minibatch import MinibatchDiscrimination
from augpipe.nn.rotations import TURNS


class CriticOutput(NamedTuple):
    """score (N,): higher for images that are real and of the given label; float32.

    features (N,F): before the heads. classes: logits (N,K), (N,K+1) if one stands for fakes, (N,0) without such a head.
    """

    score: torch.Tensor
    features: torch.Tensor
    classes: torch.Tensor


class FeatureHeads(nn.Module):
    """Minibatch discrimination with so many kernels, if any, and heads for rotations and for so many codes.

    Features (N,F) → (N,width).
    """

    def __init__(self, features: int, *, kernels: int, rotation: bool, codes: int) -> None:
        super().__init__()
        self.width = features + kernels
        self.minibatch = MinibatchDiscrimination(features, kernels) if kernels else None
        self.rotation = nn.Linear(self.width, TURNS) if rotation else None
        self.codes = nn.Linear(self.width, codes) if codes else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if self.minibatch is None:
            return features
        out: torch.Tensor = self.minibatch(features)
        return out

    def turns(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N,width) → logits of the number of quarter turns (N,4), float32."""
        return _head(self.rotation, features)

    def guess(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N,width) → logits of the category and means of the continuous codes, float32."""
        return _head(self.codes, features)


def _head(head: nn.Module | None, features: torch.Tensor) -> torch.Tensor:
    if head is None:
        raise RuntimeError("the critic was built without this head")
    out: torch.Tensor = head(features)
    return out.float()
