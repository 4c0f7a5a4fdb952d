"""pixelcnn: a gated, class-conditional PixelCNN (van den Oord et al. 2016), for images of up to 64 pixels.

Each pixel is a mixture of discretised logistic distributions (Salimans et al. 2017), given the pixels before it and the
class, so the likelihood of an image is exact. Images are drawn pixel by pixel: the time grows with their number, and
hardly with that of the images drawn together.
"""

from __future__ import annotations

import math
from typing import ClassVar, Final, Literal, cast

import torch
from pydantic import Field

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.errors import UserError
from augpipe.core.images import to_uint8
from augpipe.generators.networks import NetworkConfig, NetworkGenerator
from augpipe.generators.protocol import Problem
from augpipe.nn import mixtures
from augpipe.nn.autoregressive import GatedPixelCNN
from augpipe.nn.ema import EMA

LARGEST: Final = 64  # pixels of a side
SAMPLE_BATCH: Final = 256  # images drawn together


class Config(NetworkConfig):
    """Options of pixelcnn."""

    not_truncated: ClassVar[str] = "it draws pixel by pixel, and no latents"
    not_exported: ClassVar[str] = "its images are not those of one network"

    kind: Literal["pixelcnn"]
    """A gated, class-conditional PixelCNN (van den Oord et al. 2016)."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    kimg: float = Field(default=150.0, ge=0)
    """Training budget, in thousands of real images shown."""

    width: float = Field(default=32.0, gt=0, le=512)
    """Features of each of the two stacks."""

    layers: int = Field(default=6, ge=1, le=64)
    """Gated layers; each lets a pixel see one further row above and one further pixel to each side."""

    components: int = Field(default=5, ge=1, le=64)
    """Logistic distributions in the mixture of each pixel."""

    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout rate in the gated layers."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""


class PixelCNN(NetworkGenerator):
    """See the module docstring."""

    not_truncated = Config.not_truncated
    not_decoded = Config.not_truncated

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        channels = problem.spec.channels
        self.net = GatedPixelCNN(
            channels,
            len(problem.classes),
            mixtures.parameters(channels, config.components),
            features=max(1, round(config.width)),
            layers=config.layers,
            dropout=config.dropout,
        )
        self.add("generator", self.net)
        self.ema = EMA(self.net, config.ema_half_kimg)
        self.adam("g", self.net, config.learning_rate, (0.9, 0.999))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update on the negative log-likelihood, in bits for each value of the images."""
        real, labels = self.local_batch(images, labels)
        pixels = parallel.local_rows(images).to(self.runtime.device)
        with self.runtime.autocast():
            raw = self.net(real, labels)
        nats = mixtures.log_likelihood(raw, pixels).sum((1, 2)).mean()
        loss = -nats / (real[0].numel() * math.log(2))
        self.update("g", loss)
        self.finish_step(len(real))
        return {"loss_bits": loss.detach()}

    @torch.no_grad()
    def log_likelihood(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Images uint8 (N,C,H,W), labels (N,) → log-likelihood by the averaged weights in nats, float32 (N,)."""
        chunks = []
        for pixels, chunk in zip(images.split(SAMPLE_BATCH), labels.split(SAMPLE_BATCH), strict=True):
            here = self.runtime.move(pixels)
            raw = self.ema.module(mixtures.to_values(here), chunk.to(self.runtime.device))
            chunks.append(mixtures.log_likelihood(raw, here).sum((1, 2)).cpu())
        return torch.cat(chunks)

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw images pixel by pixel with the averaged weights, in float32."""
        spec, net = self.problem.spec, cast(GatedPixelCNN, self.ema.module)
        images = torch.empty((len(labels), *spec.shape), dtype=torch.uint8)
        for rows in torch.arange(len(labels)).split(SAMPLE_BATCH):
            uniform = torch.rand(spec.size, spec.size, len(rows), 1 + spec.channels, generator=rng)
            uniform = uniform.to(self.runtime.device)

            def pick(raw: torch.Tensor, i: int, j: int, uniform: torch.Tensor = uniform) -> torch.Tensor:
                return mixtures.draw(raw, uniform[i, j])

            drawn = net.generate(labels[rows].to(self.runtime.device), spec.size, pick)
            images[rows] = to_uint8(drawn).cpu()
        return images


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for images above LARGEST pixels."""
    if problem.spec.size > LARGEST:
        raise UserError(
            f"pixelcnn draws pixel by pixel, images of up to {LARGEST} pixels; image.size is {problem.spec.size}"
        )


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> PixelCNN:
    """Build an untrained PixelCNN."""
    return PixelCNN(config, problem, runtime, seed)
