"""A net that moves one image of a class onto another by a smooth displacement field, and its losses."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.variational import Posterior

SCALES: Final = (1, 2, 4)  # sides of the squares over which images are averaged before they are compared
MOST_HALVINGS: Final = 4  # of the images that enter the nets, which have at most 112 pixels a side


class Deformed(NamedTuple):
    """images: (N,C,H,W) in [-1,1]; field: (N,2,h,w), coarse displacements, in halves of the image's side."""

    images: torch.Tensor
    field: torch.Tensor


class PairDeformer(nn.Module):
    """Encoder of pairs and decoder of displacements; forward is the decoder: images, latents (N,Z) → moved images.

    A pixel of the moved image is the image's value at p + affine(p) + field(p), with p in [-1,1]² (Hauberg et al.
    2016; Zhao et al. 2019): a global affine map of the latent, and a coarse field of the image and the latent, enlarged
    by bicubic interpolation. tanh bounds the entries of both by `reach`. No pixel is painted: every value is
    interpolated from the image. width: channels at full resolution; images above 112 pixels are halved before the nets,
    as the field is coarse anyway.
    """

    def __init__(self, spec: ImageSpec, *, width: float, latent: int, reach: float) -> None:
        super().__init__()
        self.base, k = doublings(spec.size)
        self.shrink = 2 ** max(0, k - MOST_HALVINGS)
        channels = widths(width, min(k, MOST_HALVINGS), most=4)
        self.reach, top = reach, channels[0]
        self.pair = _trunk(2 * spec.channels, channels[::-1])
        self.posterior = nn.Linear(top * self.base**2, 2 * latent)
        self.image = _trunk(spec.channels, channels[::-1])
        self.latent = nn.Linear(latent, top * self.base**2)
        self.field = nn.Sequential(nn.Conv2d(top, top, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(top, 2, 3, 1, 1))
        self.affine = nn.Linear(latent, 6)

    def encode(self, x: torch.Tensor, y: torch.Tensor) -> Posterior:
        """Pairs of images (N,C,H,W) in [-1,1] → float32 moments of the latents that move x onto y."""
        h = self.pair(F.avg_pool2d(torch.cat([x, y], 1), self.shrink)).flatten(1)
        mean, log_variance = self.posterior(h).float().chunk(2, 1)
        # Beyond these, exp() of the variance leaves float32's range before the loss pulls it back.
        return Posterior(mean, log_variance.clamp(-20, 10))

    def move(self, x: torch.Tensor, z: torch.Tensor) -> Deformed:
        """Images (N,C,H,W), latents (N,Z) → moved images and their coarse fields."""
        h = self.image(F.avg_pool2d(x, self.shrink)) + self.latent(z).unflatten(1, (-1, self.base, self.base))
        field = self.reach * torch.tanh(self.field(F.leaky_relu(h, 0.2)).float())
        affine = self.reach * torch.tanh(self.affine(z).float()).view(-1, 2, 3)
        with torch.autocast(x.device.type, enabled=False):
            return Deformed(warp(x.float(), affine, field), field)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.move(x, z).images


def _trunk(i: int, channels: list[int]) -> nn.Sequential:
    """(N,i,H,W) → (N, channels[-1], base, base)."""
    layers: list[nn.Module] = [nn.Conv2d(i, channels[0], 3, 1, 1), nn.LeakyReLU(0.2)]
    for a, b in pairwise(channels):
        layers += [nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def warp(x: torch.Tensor, affine: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Read images (N,C,H,W) at displaced places; affine (N,2,3), field (N,2,h,w): 0 leaves an image as it is.

    Displacements are in halves of the image's side, x before y. Outside of the image its border is repeated.
    """
    size = x.shape[-2:]
    identity = torch.eye(2, 3, device=x.device).expand(len(x), -1, -1)
    places = F.affine_grid(identity + affine, list(x.shape), align_corners=False)
    places = places + F.interpolate(field, size, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    return F.grid_sample(x, places, mode="bilinear", padding_mode="border", align_corners=False)


def multi_scale_error(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum over SCALES of the mean squared difference of averaged images (N,C,H,W).

    At full resolution alone, strokes that do not touch give no gradient towards each other.
    """
    errors = [(F.avg_pool2d(a, scale) - F.avg_pool2d(b, scale)).square().mean() for scale in SCALES]
    return torch.stack(errors).sum()


def roughness(field: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of neighbouring displacements of coarse fields (N,2,h,w)."""
    return field.diff(dim=2).square().mean() + field.diff(dim=3).square().mean()
