"""DCGAN (Radford et al. 2016), intended for one model per class as in Frid-Adar et al. (2018): `per_class: true`.

That work trains each class's model on classically augmented images: the `classic` operations apply to reals
only, so the samples show them too. Without `per_class` the latent is multiplied by a label embedding and the
discriminator is a projection discriminator (Miyato & Koyama 2018). The techniques of `techniques` are optional.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from augpipe.core.device import Runtime
from augpipe.generators.protocol import Problem
from augpipe.generators.technique_options import TechniqueConfig, check_techniques
from augpipe.generators.techniques import Techniques
from augpipe.nn.attention import SelfAttention
from augpipe.nn.augment import diff_augment
from augpipe.nn.blocks import Dropout, doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.heads import CriticOutput, FeatureHeads
from augpipe.nn.norms import ConditionalBatchNorm2d, split_sizes
from augpipe.nn.options import WITH_TARGETS, Operations


class Config(TechniqueConfig):
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
    """Discriminator's target for reals (one-sided label smoothing, Salimans et al. 2016), in losses with targets. 1: no
    smoothing."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """Learning rate of Adam."""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.adversarial not in WITH_TARGETS:
            yield "real_target", f"with loss: {self.adversarial}"


class GeneratorNet(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k - 1), len(problem.classes)
        self.embedding = nn.Embedding(classes, config.latent) if classes > 1 else None
        self.parts = split_sizes(config.latent, k + 1) if config.latent_skips else [config.latent]
        self.first = nn.Linear(self.parts[0], channels[0] * self.base**2)
        layers: list[nn.Module] = []
        for level, width in enumerate(channels):
            if level:
                layers.append(nn.ConvTranspose2d(channels[level - 1], width, 4, 2, 1))
            part = self.parts[level + 1] if config.latent_skips else 0
            layers += [ConditionalBatchNorm2d(width, classes, part) if part else nn.BatchNorm2d(width), nn.ReLU()]
            if config.attention == self.base * 2**level:
                layers.append(SelfAttention(width))
        layers += [nn.ConvTranspose2d(channels[-1], problem.spec.channels, 4, 2, 1), nn.Tanh()]
        self.up = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if self.embedding is not None:
            z = z * self.embedding(labels)  # concatenated instead, it soon replaced the latent
        first, *parts = z.split(self.parts, 1)
        x: torch.Tensor = self.first(first).unflatten(1, (-1, self.base, self.base))
        for layer in self.up:
            # Such a norm is there for each part of the latent.
            x = layer(x, labels, parts.pop(0)) if isinstance(layer, ConditionalBatchNorm2d) else layer(x)
        return x


class DiscriminatorNet(nn.Module):
    """(N,C,H,W) in [-1,1], labels (N,) → CriticOutput without class logits."""

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
            if config.attention == problem.spec.size // 2 ** (level + 1):
                layers.append(SelfAttention(width))
            below = width
        self.trunk = nn.Sequential(*layers)
        self.heads = FeatureHeads(
            below * base**2,
            kernels=config.minibatch_discrimination,
            rotation=config.rotation > 0,
            codes=config.codes,
            joint=config.latent if config.encoder else 0,
        )
        self.last = nn.Linear(self.heads.width, 1)
        self.embedding = nn.Embedding(classes, self.heads.width) if classes > 1 else None

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) → (N,F)."""
        out: torch.Tensor = self.heads(self.trunk(x).flatten(1))
        return out

    def forward(self, x: torch.Tensor, labels: torch.Tensor, latents: torch.Tensor | None = None) -> CriticOutput:
        """See the class."""
        h = self.features(x)
        match = self.heads.match(h, latents)
        logit: torch.Tensor = self.last(h).squeeze(1)
        if self.embedding is not None:
            logit = logit + (h * self.embedding(labels)).sum(1) / math.sqrt(h.shape[1])
        return CriticOutput(logit.float() if match is None else logit.float() + match, h, h.new_empty(len(h), 0))


class DCGAN(Techniques):
    """See the module docstring."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = self.add("generator", GeneratorNet(config, problem), "dcgan")
        self.d = self.add("discriminator", DiscriminatorNet(config, problem), "dcgan")
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.with_encoder(self.g), config.learning_rate, (0.5, 0.999))
        self.adam("d", self.d, config.learning_rate, (0.5, 0.999))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one discriminator update and one generator update."""
        real, labels = self.local_batch(images, labels)
        real = diff_augment(real, self.config.classic, self.rngs["device"])
        reals, fakes = self.show(real, labels)
        self.observe(reals.output.score)
        loss_d = self.critic_loss(*self.flipped(reals, fakes), self.config.real_target)
        loss_d = self.with_critic_terms(loss_d, reals, fakes)
        self.update("d", loss_d)
        with self.frozen("discriminator"):
            on_real = self.compared(real, labels)
            fake = self.fakes(labels)
            loss_g = self.with_generator_terms(self.generator_loss(fake, on_real), fake, on_real)
            self.update("g", loss_g)
        self.finish_step(len(real))
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled, or that a technique does not fit."""
    check_techniques(config, problem)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DCGAN:
    """Build an untrained DCGAN."""
    return DCGAN(config, problem, runtime, seed)
