"""Steps of classical augmentation on whole batches, each image by its own draws.

Parameters, ranges and order are those of the albumentations transforms of the same name, which the tests compare them
with. A step draws from its own streams, image after image: the draws do not depend on how images are divided into
batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch.nn import functional as F

from augpipe.core.seeds import torch_stream

Images = Callable[[torch.Tensor], torch.Tensor]  # uint8 (N,C,H,W) → uint8 (N,C,H,W)
# float (N,C,H,W) in [0,255], parameters (N,P), stream of noise → float (N,C,H,W)
Change = Callable[[torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
CHUNK: Final = 2**20  # values of the images that are changed at a time: bounds memory for large images


@dataclass(frozen=True)
class Step:
    """A change of each image with a probability; its parameters are uniform in `ranges`."""

    change: Change
    probability: float
    ranges: Sequence[tuple[float, float]] = ()


class Steps:
    """uint8 (N,C,H,W) → uint8 (N,C,H,W): steps one after the other, rounded once at the end."""

    def __init__(self, steps: Sequence[Step], seed: int) -> None:
        self._steps = [
            (step, torch_stream(seed, "parameters", place), torch_stream(seed, "noise", place))
            for place, step in enumerate(steps)
        ]

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A transformed copy of each image."""
        rows = max(1, CHUNK // max(1, images[:1].numel()))
        return torch.cat([self._changed(chunk) for chunk in images.split(rows)])

    def _changed(self, images: torch.Tensor) -> torch.Tensor:
        x = images.contiguous().float()
        for step, stream, noise in self._steps:
            u = torch.rand(len(x), 1 + len(step.ranges), generator=stream)
            rows = (u[:, 0] < step.probability).nonzero()[:, 0]
            if len(rows):
                low, high = torch.tensor(step.ranges).view(-1, 2).unbind(1)
                parameters = low + u[rows, 1:] * (high - low)
                rows = rows.to(x.device)
                x[rows] = step.change(x[rows], parameters.to(x.device), noise)
        return x.round_().clamp_(0, 255).to(torch.uint8)


def affine(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """Scale, rotate, shear and shift about the centre, in that order; new pixels are black.

    parameters (N,7): scale in x and y, shift in x and y as a fraction of the side (whole pixels, rounded towards 0),
    degrees of rotation, degrees of shear in x and y.
    """
    height, width = x.shape[2:]
    scale_x, scale_y, shift_x, shift_y = parameters[:, :4].unbind(1)
    turn, shear_x, shear_y = (parameters[:, 4:] * (math.pi / 180)).unbind(1)
    cos, sin, slope_x, slope_y = turn.cos(), turn.sin(), -shear_x.tan(), -shear_y.tan()
    # The map from input to output, shear · rotation · scale, and its inverse.
    a, b = (cos - slope_x * sin) * scale_x, (sin + slope_x * cos) * scale_y
    c, d = (slope_y * cos - sin) * scale_x, (slope_y * sin + cos) * scale_y
    determinant = a * d - b * c
    columns = _centred(width, x.device) - (shift_x * width).trunc()[:, None]
    rows = _centred(height, x.device) - (shift_y * height).trunc()[:, None]
    inverse = torch.stack([d, -b, -c, a], 1) / determinant[:, None]
    from_x = inverse[:, 0, None] * columns, inverse[:, 1, None] * rows
    from_y = inverse[:, 2, None] * columns, inverse[:, 3, None] * rows
    grid = x.new_empty(len(x), height, width, 2)  # in grid_sample's coordinates a side is from -1 to 1
    torch.add(from_x[0][:, None] * (2 / width), from_x[1][:, :, None] * (2 / width), out=grid[..., 0])
    torch.add(from_y[0][:, None] * (2 / height), from_y[1][:, :, None] * (2 / height), out=grid[..., 1])
    return F.grid_sample(x, grid, align_corners=False)


@dataclass(frozen=True)
class SmoothNoise:
    """Displacements by Gaussian noise, divided by its largest value, smoothed by a Gaussian of `sigma` pixels, times
    `alpha`; beyond the border the noise repeats its last value.
    """

    alpha: float
    sigma: float

    def displacements(self, n: int, size: tuple[int, int], noise: torch.Generator) -> torch.Tensor:
        """Displacements (N,2,H,W), x and y, in pixels."""
        field = _normal(n, (2, *size), noise)
        field /= field.abs().amax((1, 2, 3), keepdim=True)
        down, across = (_smoothing(side, self.sigma) for side in size)
        return self.alpha * (down @ field @ across.T)

    def __call__(self, x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
        """Move the pixels of each image."""
        return _moved(x, self.displacements(len(x), (x.shape[2], x.shape[3]), noise))


@dataclass(frozen=True)
class Simard:
    """Elastic deformation by Simard et al. 2003, section 2.1.

    Displacements are uniform in [-1, 1], smoothed by a Gaussian of `sigma` pixels, times `alpha`, for images of `side`
    pixels; about .8 px. The paper uses 34, about 1.4 px, which learns more slowly: with 1200 steps, val was better at
    20 on MNIST. The field is computed at `side` pixels and resized to the image, so that the deformation does not
    depend on image size; its noise extends beyond the border, so that it is not stronger there. Pixels from outside
    are black.
    """

    side: int = 28
    sigma: float = 4.0
    alpha: float = 20.0

    def displacements(self, n: int, size: tuple[int, int], noise: torch.Generator) -> torch.Tensor:
        """Displacements (N,2,H,W), x and y, in pixels of the image."""
        wide = self.side + 2 * round(3 * self.sigma)
        field = torch.rand(n, 2, wide, wide, generator=noise) * 2 - 1
        down, across = (_resized_smoothing(self.side, self.sigma, length) for length in size)
        unit = torch.tensor([size[1] / self.side, size[0] / self.side]).view(2, 1, 1)
        return self.alpha * unit * (down @ field @ across.T)

    def __call__(self, x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
        """Move the pixels of each image."""
        return _moved(x, self.displacements(len(x), (x.shape[2], x.shape[3]), noise))


def mirror(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """Mirror left-right."""
    return x.flip(3)


def brightness_contrast(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """Times 1 + contrast, plus 255 times brightness; parameters (N,2): brightness, contrast."""
    brightness, contrast = parameters[:, :, None, None, None].unbind(1)
    return torch.addcmul(255 * brightness, x, 1 + contrast).clamp_(0, 255)


def gamma(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """255 (x / 255)^gamma; parameters (N,1): gamma."""
    return (x / 255).clamp_(0, 1).pow_(parameters[:, :, None, None]).mul_(255)


def blur_or_noise(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """A Gaussian blur of 3x3 pixels, or Gaussian noise on each value.

    parameters (N,3): below 0.5 blurs; sigma of the blur, in pixels; standard deviation of the noise, of 255.
    """
    choice, sigma, deviation = parameters[:, :, None, None, None].unbind(1)
    blurs = choice.flatten() < 0.5
    changed = torch.empty_like(x)
    changed[blurs] = _blurred(x[blurs], sigma[blurs])
    grain = _normal(int((~blurs).sum()), tuple(x.shape[1:]), noise).to(x.device)
    changed[~blurs] = x[~blurs] + 255 * deviation[~blurs] * grain
    return changed


def erase(x: torch.Tensor, parameters: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """Black rectangle; parameters (N,4): height and width as fractions of the side, place of its top and left corner
    among the possible ones, in [0, 1].
    """
    inside = []
    for column, side in enumerate(x.shape[2:]):
        length = (parameters[:, column, None] * side).trunc()
        start = torch.minimum((parameters[:, 2 + column, None] * (side - length + 1)).trunc(), side - length)
        place = torch.arange(side, device=x.device)
        inside.append((place >= start) & (place < start + length))
    return x.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)


def _moved(x: torch.Tensor, displacements: torch.Tensor) -> torch.Tensor:
    """Each pixel from its place plus its displacement (N,2,H,W) in pixels; black from outside."""
    height, width = x.shape[2:]
    moves = displacements.to(x.device)
    grid = x.new_empty(len(x), height, width, 2)
    torch.add(moves[:, 0], _centred(width, x.device), out=grid[..., 0])
    torch.add(moves[:, 1], _centred(height, x.device)[:, None], out=grid[..., 1])
    grid *= torch.tensor([2 / width, 2 / height], device=x.device)
    return F.grid_sample(x, grid, align_corners=False)


def _blurred(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur over three pixels in each direction, mirrored about the border pixels; sigma (N,1,1,1)."""
    beside = torch.exp(-0.5 / sigma.square())
    total = 1 + 2 * beside
    for dimension, pad in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
        wide, length = F.pad(x, pad, mode="reflect"), x.shape[dimension]
        neighbours = wide.narrow(dimension, 0, length) + wide.narrow(dimension, 2, length)
        x = (x + beside * neighbours) / total
    return x


def _centred(length: int, device: torch.device) -> torch.Tensor:
    """Distances of the pixels of a side from its centre, (length,)."""
    return torch.arange(length, device=device) - (length - 1) / 2


def _normal(n: int, shape: tuple[int, ...], rng: torch.Generator) -> torch.Tensor:
    """Standard normal (n, *shape): n images drawn one by one are the same as n at once.

    torch draws in groups of 16, so that each image takes a multiple of 16 numbers.
    """
    count = math.prod(shape)
    return torch.randn(n, -(-count // 16) * 16, generator=rng)[:, :count].reshape(n, *shape)


def _gaussian(radius: int, sigma: float) -> torch.Tensor:
    kernel = torch.exp(-((torch.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    return kernel / kernel.sum()


@cache
def _smoothing(length: int, sigma: float) -> torch.Tensor:
    """Matrix (length, length) of a Gaussian over 4 sigma in which border pixels repeat outside."""
    radius = round(4 * sigma)
    wide = _bands(length, _gaussian(radius, sigma))
    inner = wide[:, radius : radius + length].clone()
    inner[:, 0] += wide[:, :radius].sum(1)
    inner[:, -1] += wide[:, radius + length :].sum(1)
    return inner


@cache
def _resized_smoothing(side: int, sigma: float, length: int) -> torch.Tensor:
    """Matrix (length, side + 6 sigma): a Gaussian over 3 sigma, resized bicubically from `side` pixels."""
    smooth = _bands(side, _gaussian(round(3 * sigma), sigma))
    resized = F.interpolate(smooth[None, None], (length, smooth.shape[1]), mode="bicubic", align_corners=False)
    return resized[0, 0] if length != side else smooth


def _bands(length: int, kernel: torch.Tensor) -> torch.Tensor:
    """Matrix (length, length + len(kernel) - 1) of a convolution with the kernel."""
    rows = torch.zeros(length, length + len(kernel) - 1)
    for row in range(length):
        rows[row, row : row + len(kernel)] = kernel
    return rows
