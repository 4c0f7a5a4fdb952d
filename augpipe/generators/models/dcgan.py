"""DCGAN (Radford et al. 2016), intended for one model per class as in Frid-Adar et al. (2018): `per_class: true`.

That work trains each class's model on classically augmented images: the `classic` operations apply to reals
only, so the samples show them too. Without `per_class` the latent is multiplied by a label embedding and the
discriminator is a projection discriminator (Miyato & Koyama 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from augpipe.core.device import Runtime
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.augment import diff_augment
from augpipe.nn.blocks import Dropout, doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.options import Operations


class Config(AdversarialConfig):
    """Options of DCGAN."""

    kind: Literal["dcgan"]
    """DCGAN (Radford et al. 2016), intended for `per_class: true` (Frid-Adar et al. 2018)."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    width: float = Field(default=24.0, gt=0, le=512)
    """Channels at half resolution, doubled with each further halving; the paper: 64."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout rate of the discriminator."""

    classic: Operations = ("affine",)
    """Operations on reals only, as classical augmentation of the training set; samples show them too."""

    real_target: float = Field(default=1.0, gt=0.5, le=1)
    """Discriminator's target for reals (one-sided label smoothing, Salimans et al. 2016). 1: no smoothing."""

    r1: float = Field(default=0.0, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps; 0 as in the paper."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 penalties (lazy regularisation, Karras et al. 2020)."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Learning rate of Adam."""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.r1:
            yield "r1_every", "with r1: 0"


class GeneratorNet(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k - 1), len(problem.classes)
        self.embedding = nn.Embedding(classes, config.latent) if classes > 1 else None
        self.first = nn.Linear(config.latent, channels[0] * self.base**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels[0]), nn.ReLU()]
        for a, b in pairwise(channels):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
        layers += [nn.ConvTranspose2d(channels[-1], problem.spec.channels, 4, 2, 1), nn.Tanh()]
        self.up = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if self.embedding is not None:
            z = z * self.embedding(labels)  # concatenated instead, it soon replaced the latent
        out: torch.Tensor = self.up(self.first(z).unflatten(1, (-1, self.base, self.base)))
        return out


class DiscriminatorNet(nn.Module):
    """(N,C,H,W) in [-1,1], labels (N,) → logits (N,), float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k - 1)[::-1], len(problem.classes)
        layers: list[nn.Module] = []
        below = problem.spec.channels
        for level, width in enumerate(channels):
            layers.append(nn.Conv2d(below, width, 4, 2, 1))
            if level:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.LeakyReLU(0.2), Dropout(config.dropout)]
            below = width
        self.trunk = nn.Sequential(*layers)
        self.last = nn.Linear(below * base**2, 1)
        self.embedding = nn.Embedding(classes, below * base**2) if classes > 1 else None

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = self.trunk(x).flatten(1)
        logit: torch.Tensor = self.last(h).squeeze(1)
        if self.embedding is not None:
            logit = logit + (h * self.embedding(labels)).sum(1) / math.sqrt(h.shape[1])
        return logit.float()


class DCGAN(Adversarial):
    """See the module docstring."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = self.add("generator", GeneratorNet(config, problem), "dcgan")
        self.d = self.add("discriminator", DiscriminatorNet(config, problem), "dcgan")
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.g, config.learning_rate, (0.5, 0.999))
        self.adam("d", self.d, config.learning_rate, (0.5, 0.999))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one discriminator update and one generator update."""
        real, labels = self.local_batch(images, labels)
        loss_d = self._discriminator_loss(real, labels)
        self.update("d", loss_d)
        with self.frozen("discriminator"):
            with self.runtime.autocast():
                z, fake_labels = self.noise(self.draw_labels(len(real)))
                on_fake = self.d(self.augment(self.g(z, fake_labels)), fake_labels)
            loss_g = losses.generator_bce(on_fake)
            self.update("g", loss_g)
        self.finish_step(len(real))
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}

    def _discriminator_loss(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        real = diff_augment(real, self.config.classic, self.rngs["device"])
        real = self.augment(real)
        with self.runtime.autocast():
            z, fake_labels = self.noise(self.draw_labels(len(real)))
            with torch.no_grad():
                fake = self.g(z, fake_labels)
            on_real, on_fake = self.d(real, labels), self.d(self.augment(fake), fake_labels)
        self.observe(on_real)
        loss = losses.discriminator_bce(on_real, on_fake, self.config.real_target)
        return self.with_r1(loss, lambda x: self.d(x, labels), real, self.config.r1, self.config.r1_every)


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DCGAN:
    """Build an untrained DCGAN."""
    return DCGAN(config, problem, runtime, seed)
