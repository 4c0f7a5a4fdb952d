"""Virtual batch norm: statistics of a fixed reference batch and of the image itself (Salimans et al. 2016, 3.5)."""

from __future__ import annotations

import torch
from torch import nn

from augpipe.nn.norms import replace_norms


class VirtualBatchNorm2d(nn.Module):
    """Batch norm whose first `reference` rows are the reference batch; (N,C,H,W) → (N,C,H,W).

    Each further image is normalised by the mean and variance of the reference batch and the image; no other image of
    the batch counts. The rows of the reference batch are normalised by their statistics.
    """

    def __init__(self, like: nn.BatchNorm2d, reference: int) -> None:
        super().__init__()
        self.reference, self.eps = reference, like.eps
        self.weight = nn.Parameter(torch.empty(like.num_features)) if like.affine else None
        self.bias = nn.Parameter(torch.empty(like.num_features)) if like.affine else None

    def draw_parameters(self, rng: torch.Generator) -> None:
        """Gain 1 and bias 0; draws nothing."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        first, images = x.float().tensor_split([self.reference])
        mean, square = first.mean((0, 2, 3), keepdim=True), first.square().mean((0, 2, 3), keepdim=True)
        weight = 1 / (self.reference + 1)
        means = torch.lerp(mean, images.mean((2, 3), keepdim=True), weight)
        squares = torch.lerp(square, images.square().mean((2, 3), keepdim=True), weight)
        out = torch.cat([_normal(first, mean, square, self.eps), _normal(images, means, squares, self.eps)])
        if self.weight is not None and self.bias is not None:
            out = torch.addcmul(self.bias[:, None, None], out, self.weight[:, None, None])
        return out.to(x.dtype)


def _normal(x: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, eps: float) -> torch.Tensor:
    return (x - mean) * torch.rsqrt((square - mean.square()).clamp(min=0) + eps)


class WithReference(nn.Module):
    """A generator whose batch norms are virtual, with its reference batch: latents (R,Z) and labels (R,).

    The reference batch goes through the net with every batch of images. latent (N,Z), labels (N,) → (N,C,H,W).
    """

    latents: torch.Tensor
    labels: torch.Tensor

    def __init__(self, net: nn.Module, latents: torch.Tensor, labels: torch.Tensor) -> None:
        super().__init__()
        replace_norms(net, lambda norm: VirtualBatchNorm2d(norm, len(labels)))
        self.net = net
        self.register_buffer("latents", latents)
        self.register_buffer("labels", labels)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.net(torch.cat([self.latents, z]), torch.cat([self.labels, labels]))
        return out[len(self.labels) :]
