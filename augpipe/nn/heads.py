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
    """Minibatch discrimination with so many kernels, if any, and heads for rotations, so many codes, and latents.

    joint: size of the latents that an image is matched with, or 0. Features (N,F) → (N,width).
    """

    def __init__(self, features: int, *, kernels: int, rotation: bool, codes: int, joint: int) -> None:
        super().__init__()
        self.width = features + kernels
        self.minibatch = MinibatchDiscrimination(features, kernels) if kernels else None
        self.rotation = nn.Linear(self.width, TURNS) if rotation else None
        self.codes = nn.Linear(self.width, codes) if codes else None
        self.joint = _two_layers(self.width + joint, self.width) if joint else None

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

    def match(self, features: torch.Tensor, latents: torch.Tensor | None) -> torch.Tensor | None:
        """Features (N,width), latents (N,Z) → how well they go together, (N,), float32; None without such a head."""
        if self.joint is None or latents is None:
            return None
        return _head(self.joint, torch.cat([features, latents.to(features.dtype)], 1)).squeeze(1)


def _two_layers(inputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))


def _head(head: nn.Module | None, features: torch.Tensor) -> torch.Tensor:
    if head is None:
        raise RuntimeError("the critic was built without this head")
    out: torch.Tensor = head(features)
    return out.float()
