"""diffusion: a class-conditional diffusion model with the design of Karras et al. (2022), "EDM".

A small U-Net removes noise from images of the class. Training, preconditioning, noise levels and the sampler of second
order are those of the paper (its table 1, column "Ours"); classifier-free guidance follows Ho & Salimans (2021).
`class_balancing` adds the loss of Qin et al. (2023), which keeps rare classes from being denoised as rich ones.

Drawing an image takes `2 sampling_steps - 1` passes through the network. Diffusion models of small sets may return
their training images: look at the memorisation test before you use the images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import to_uint8
from augpipe.generators.networks import NetworkConfig, NetworkGenerator
from augpipe.generators.protocol import Problem
from augpipe.nn.blocks import doublings
from augpipe.nn.ema import EMA
from augpipe.nn.residual import Attention, Residual, ZeroConv2d, channel_norm, fourier_features

SIGMA_DATA: Final = 0.5  # standard deviation of images in [-1,1], as the paper assumes
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # noise levels of the sampler (table 1)
LOG_MEAN, LOG_STD = -1.2, 1.2  # of ln(sigma) in training (table 1)
COMMITMENT: Final = 0.25  # weight of the second part of the class-balancing loss (Qin et al. 2023, eq. 10)
SMALLEST: Final = 8  # resolution below which the U-Net does not go, and at which it attends
SAMPLE_BATCH: Final = 128  # images per forward pass in sampling


class Config(NetworkConfig):
    """Options of diffusion."""

    not_truncated: ClassVar[str] = "its images depend on noise of every level; train with guidance above 1 instead"
    not_exported: ClassVar[str] = "its images are not those of one network"

    kind: Literal["diffusion"]
    """A class-conditional diffusion model (Karras et al. 2022)."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    kimg: float = Field(default=300.0, ge=0)
    """Training budget, in thousands of real images shown."""

    width: float = Field(default=32.0, gt=0, le=512)
    """Channels at full resolution; twice as many at half of it, and below."""

    blocks: int = Field(default=1, ge=1, le=8)
    """Residual blocks at each resolution on the way down; one more on the way up."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam, reached after `warm_up_kimg`."""

    warm_up_kimg: float = Field(default=5.0, ge=0)
    """Thousands of images over which the learning rate rises from 0."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout rate in the residual blocks."""

    ema_half_kimg: float = Field(default=20.0, gt=0)
    """Half-life of the weight average (EMA), in thousands of real images."""

    unlabelled: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training images that are shown without their class, for guidance."""

    guidance: float = Field(default=1.0, ge=0, le=10)
    """Weight w of the class in sampling: D_0 + w (D_class - D_0). 1: no guidance; above 1: more typical images."""

    class_balancing: float = Field(default=0.0, ge=0, le=10)
    """Weight of the class-balancing loss (Qin et al. 2023). 0: none; the paper: 1. It takes twice the time."""

    sampling_steps: int = Field(default=18, ge=2, le=1000)
    """Noise levels in sampling; an image takes 2 n - 1 passes through the network, twice that with guidance."""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.unlabelled and self.guidance != 1:
            yield "guidance", "with unlabelled: 0"


class UNet(nn.Module):
    """Noisy images (N,C,H,W), noise condition (N,), labels (N,), K for none → (N,C,H,W)."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        size, first = problem.spec.size, max(4, round(config.width))
        levels = sum(size % 2**k == 0 and size // 2**k >= SMALLEST for k in range(1, 8))
        widths = [first, *[2 * first] * levels]
        vector, dropout = 4 * first, config.dropout
        self.frequencies = first // 2
        self.noise = nn.Sequential(nn.Linear(2 * self.frequencies, vector), nn.SiLU(), nn.Linear(vector, vector))
        self.classes = nn.Embedding(len(problem.classes) + 1, vector)
        self.stem = nn.Conv2d(problem.spec.channels, first, 3, 1, 1)
        down, skips, width = list[nn.Module](), [first], first
        for level, target in enumerate(widths):
            if level:
                down.append(Residual(width, width, vector, resample="down", dropout=dropout))
                skips.append(width)
            for _ in range(config.blocks):
                down.append(Residual(width, target, vector, dropout=dropout))
                width = target
                skips.append(width)
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList(Residual(width, width, vector, dropout=dropout) for _ in range(2))
        self.attention = Attention(width)
        up = list[nn.Module]()
        for level, target in reversed(list(enumerate(widths))):
            for _ in range(config.blocks + 1):
                up.append(Residual(width + skips.pop(), target, vector, dropout=dropout))
                width = target
            if level:
                up.append(Residual(width, width, vector, resample="up", dropout=dropout))
        self.up = nn.ModuleList(up)
        self.last = ZeroConv2d(width, problem.spec.channels, 3, 1, 1)

    def forward(self, x: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vector = F.silu(self.noise(fourier_features(30 * noise, self.frequencies)) + self.classes(labels))
        h = self.stem(x)
        skips = [h]
        for block in self.down:
            h = block(h, vector)
            skips.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, vector)), vector)
        for block in self.up:
            h = block(h if block.resample else torch.cat([h, skips.pop()], 1), vector)
        out: torch.Tensor = self.last(F.silu(channel_norm(h)))
        return out


def denoise(net: nn.Module, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The preconditioned denoiser D(x; sigma, class), float32 (N,C,H,W) (Karras et al. 2022, eq. 7 and table 1).

    x: images plus noise of standard deviation sigma (N,).
    """
    s = sigma[:, None, None, None]
    variance = s.square() + SIGMA_DATA**2
    out: torch.Tensor = net(x / variance.sqrt(), sigma.log() / 4, labels)
    return x * (SIGMA_DATA**2 / variance) + out.float() * (s * SIGMA_DATA / variance.sqrt())


def loss_weight(sigma: torch.Tensor) -> torch.Tensor:
    """lambda(sigma) = (sigma² + sigma_data²) / (sigma sigma_data)²: every noise level starts with a loss of 1."""
    return (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square()


def noise_levels(steps: int) -> torch.Tensor:
    """Noise levels of the sampler, SIGMA_MAX to SIGMA_MIN and 0, float64 (steps + 1,) (Karras et al. 2022, eq. 5)."""
    at = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return torch.cat([(high + at * (low - high)) ** RHO, torch.zeros(1, dtype=torch.float64)])


class Diffusion(NetworkGenerator):
    """See the module docstring."""

    not_truncated = Config.not_truncated
    not_decoded = "its images depend on noise of every level"

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config, self.nothing = config, len(problem.classes)  # `nothing`: the label of an unlabelled image
        self.net = self.add("generator", UNet(config, problem))
        self.ema = EMA(self.net, config.ema_half_kimg)
        for group in self.adam("g", self.net, config.learning_rate, (0.9, 0.999)).param_groups:
            group["full_rate"] = config.learning_rate
        self._warm_up()

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update on the weighted squared error of the denoised images (Karras et al. 2022, eq. 8)."""
        real, labels = self.local_batch(images, labels)
        sigma = (LOG_MEAN + LOG_STD * self.normal(real[:, 0, 0, 0])).exp()
        noisy = real + sigma[:, None, None, None] * self.normal(real)
        shown = torch.where(self._uniform(len(real)) < self.config.unlabelled, self.nothing, labels)
        with self.runtime.autocast():
            denoised = denoise(self.net, noisy, sigma, shown)
        loss = error = (loss_weight(sigma) * (denoised - real).square().mean((1, 2, 3))).mean()
        metrics = {"loss_denoising": error.detach()}
        if self.config.class_balancing:
            balancing = self._class_balancing(noisy, sigma, denoised)
            loss = loss + self.config.class_balancing * balancing
            metrics["loss_balancing"] = balancing.detach()
        self._warm_up()
        self.update("g", loss)
        self.finish_step(len(real))
        return metrics

    def _class_balancing(self, noisy: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
        """Squared difference of the predicted noise to that of a class drawn uniformly (Qin et al. 2023, eq. 9, 10).

        The difference grows with the noise level, as in the paper with the step t / T: here by the quantile of sigma.
        """
        other = parallel.local_rows(self.draw_labels(len(noisy))).to(noisy.device)
        with self.runtime.autocast():
            elsewhere = denoise(self.net, noisy, sigma, other)
        # The predicted noise is (noisy - denoised) / sigma.
        scale = (1 / sigma)[:, None, None, None]
        pull = (scale * (denoised - elsewhere.detach())).square().mean((1, 2, 3))
        commit = (scale * (denoised.detach() - elsewhere)).square().mean((1, 2, 3))
        level = 0.5 * (1 + torch.erf((sigma.log() - LOG_MEAN) / (LOG_STD * math.sqrt(2))))
        return (level * (pull + COMMITMENT * commit)).mean()

    def _uniform(self, n: int) -> torch.Tensor:
        """U(0,1) for each image of this process."""
        rng = self.rngs["device"]
        return parallel.local_rows(torch.rand(parallel.global_count(n), generator=rng, device=self.runtime.device))

    def _warm_up(self) -> None:
        """Set the learning rate of the next step."""
        ramp = min(1.0, (self.seen + 1) / (1000 * self.config.warm_up_kimg)) if self.config.warm_up_kimg else 1.0
        for group in self.optimisers["g"].param_groups:
            group["lr"] = group["full_rate"] * ramp

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate, also that after the warm-up."""
        super().lower_learning_rate(factor)
        for group in self.optimisers["g"].param_groups:
            group["full_rate"] *= factor

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw images by the deterministic sampler with the averaged weights (Karras et al. 2022, algorithm 1)."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        for rows in torch.arange(len(labels)).split(SAMPLE_BATCH):
            noise = torch.randn((len(rows), *self.problem.spec.shape), generator=rng)
            images[rows] = to_uint8(self.integrate(self.runtime.move(noise), labels[rows])).cpu()
        return images

    def integrate(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """N(0,1) noise (N,C,H,W), labels (N,) → images in about [-1,1], by Heun's method of second order."""
        labels, levels = labels.to(self.runtime.device), noise_levels(self.config.sampling_steps).tolist()
        x: torch.Tensor = noise * levels[0]
        for sigma, following in pairwise(levels):
            slope = (x - self._denoised(x, sigma, labels)) / sigma
            ahead = x + (following - sigma) * slope
            if following:
                corrected = (ahead - self._denoised(ahead, following, labels)) / following
                ahead = x + (following - sigma) * (slope + corrected) / 2
            x = ahead
        return x

    def _denoised(self, x: torch.Tensor, sigma: float, labels: torch.Tensor) -> torch.Tensor:
        """D of the averaged weights, with guidance (Ho & Salimans 2021, eq. 6)."""
        levels = torch.full((len(x),), sigma, device=x.device)
        with self.runtime.autocast():
            denoised = denoise(self.ema.module, x, levels, labels)
            if self.config.guidance != 1:
                of_none = denoise(self.ema.module, x, levels, torch.full_like(labels, self.nothing))
                denoised = of_none + self.config.guidance * (denoised - of_none)
        return denoised

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self._stale = False


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> Diffusion:
    """Build an untrained diffusion model."""
    return Diffusion(config, problem, runtime, seed)
