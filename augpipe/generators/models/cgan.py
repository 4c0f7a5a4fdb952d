"""cgan: a class-conditional GAN for small image sets, combining published techniques that work well on them.

The generator is residual with class-conditional batch norm, the critic is residual without norms. Training uses
lazy R1, minibatch standard deviation, DiffAugment or ADA, an average of the generator's weights, and draws reals
and fakes uniformly over classes. The critic has one of two heads: `softmax`, one softmax over the classes and FAKE
(Mariani et al. 2018), or `projection` with the hinge loss (Miyato & Koyama 2018). Spectral norm is optional, and so
are the techniques of `techniques`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augpipe.core.device import Runtime
from augpipe.generators.protocol import Problem
from augpipe.generators.technique_options import TechniqueConfig, check_techniques
from augpipe.generators.techniques import Techniques
from augpipe.nn import losses
from augpipe.nn.attention import SelfAttention, attended_level
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.heads import CriticOutput, FeatureHeads
from augpipe.nn.norms import ConditionalBatchNorm2d, minibatch_stddev, split_sizes


class Config(TechniqueConfig):
    """Options of cgan."""

    default_loss: ClassVar[str] = "hinge"

    kind: Literal["cgan"]
    """A residual class-conditional GAN for small image sets."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    kimg: float = Field(default=300.0, ge=0)
    """Training budget, in thousands of real images shown."""

    width: float = Field(default=16.0, gt=0, le=512)
    """Channels at full resolution; doubled with each halving of the resolution."""

    head: Literal["softmax", "projection"] = "softmax"
    """Critic's head: one `softmax` over the classes and FAKE (Mariani et al. 2018), or `projection` (Miyato &
    Koyama 2018) with `loss`, by default hinge."""

    class_weight: float = Field(default=0.0, ge=0)
    """Weight of the class cross-entropy in the generator's loss. Above 0, the projection critic also learns to classify
    reals."""

    spectral: bool = False
    """Spectral norm in the critic (Miyato et al. 2018)."""

    r1: float = Field(default=0.005, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""

    @property
    def adversarial(self) -> str:
        """Name of the loss in use."""
        return "class_or_fake" if self.head == "softmax" else super().adversarial

    @property
    def generator_side(self) -> str:
        """Name of the loss whose side of the generator is in use."""
        return "nonsaturating" if self.head == "softmax" else super().generator_side

    @model_validator(mode="after")
    def _check_loss(self) -> Config:
        if self.loss is not None and self.head == "softmax":
            raise ValueError(f"loss: {self.loss} needs head: projection; the loss of head: softmax is class or FAKE")
        return self


class Up(nn.Module):
    """Residual block that doubles the resolution: twice class-conditional norm, ReLU, conv3, with nearest 2x between.

    Upsampling after the first convolution makes that convolution four times cheaper. latent: size of the part of the
    latent that modulates the norms, or 0.
    """

    def __init__(self, i: int, o: int, classes: int, latent: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (ConditionalBatchNorm2d(n, classes, latent) for n in (i, o))
        self.conv1, self.conv2 = nn.Conv2d(i, o, 3, 1, 1), nn.Conv2d(o, o, 3, 1, 1)
        self.skip = nn.Conv2d(i, o, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor, latent: torch.Tensor | None) -> torch.Tensor:
        """(N,I,H,W), labels (N,), part of the latent (N,L) if it modulates the norms → (N,O,2H,2W)."""
        h = F.interpolate(self.conv1(F.relu(self.norm1(x, labels, latent))), scale_factor=2)
        out: torch.Tensor = self.conv2(F.relu(self.norm2(h, labels, latent)))
        return out + F.interpolate(self.skip(x), scale_factor=2)


class Down(nn.Module):
    """Residual block that halves the resolution: conv3, 2x2 average pooling, conv3; no norm."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(i, i, 3, 1, 1), nn.Conv2d(i, o, 3, 1, 1)
        self.skip = nn.Conv2d(i, o, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,I,H,W) → (N,O,H/2,W/2)."""
        h = F.avg_pool2d(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2), 2)
        out: torch.Tensor = self.conv2(h) + self.skip(F.avg_pool2d(x, 2))
        return out * math.sqrt(0.5)


class GeneratorNet(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k), len(problem.classes)
        # Only the norms are conditioned on the class: with a label embedding concatenated to the latent, each
        # class soon collapsed to one image.
        self.parts = split_sizes(config.latent, k + 1) if config.latent_skips else [config.latent] + [0] * k
        self.first = nn.Linear(self.parts[0], channels[0] * self.base**2)
        self.up = nn.ModuleList(
            Up(a, b, classes, n) for (a, b), n in zip(pairwise(channels), self.parts[1:], strict=True)
        )
        self.norm = ConditionalBatchNorm2d(channels[-1], classes)
        self.last = nn.Conv2d(channels[-1], problem.spec.channels, 3, 1, 1)
        # Feature maps before the block of this number are attended.
        self.attended = None if config.attention is None else attended_level(config.attention, problem.spec.size)
        self.attention = None if self.attended is None else SelfAttention(channels[self.attended])

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        first, *parts = z.split(self.parts, 1)
        x = self.first(first)
        x = x.unflatten(1, (-1, self.base, self.base))
        for at, (block, part) in enumerate(zip(self.up, parts, strict=True)):
            if self.attention is not None and at == self.attended:
                x = self.attention(x)
            x = block(x, labels, part)
        out: torch.Tensor = torch.tanh(self.last(F.relu(self.norm(x, labels))))
        return out


class CriticNet(nn.Module):
    """(N,C,H,W) in [-1,1], labels (N,) → CriticOutput, whose scores are above 0 for reals of the given label."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k)[::-1], len(problem.classes)
        self.first = nn.Conv2d(problem.spec.channels, channels[0], 3, 1, 1)
        down: list[nn.Module] = []
        for level, (a, b) in enumerate(pairwise(channels)):
            down.append(Down(a, b))
            if config.attention == problem.spec.size // 2 ** (level + 1):
                down.append(SelfAttention(b))
        self.down = nn.Sequential(*down)
        self.conv = nn.Conv2d(channels[-1] + 1, channels[-1], 3, 1, 1)
        self.flat = nn.Linear(channels[-1] * base**2, channels[-1])
        self.heads = FeatureHeads(
            channels[-1],
            kernels=config.minibatch_discrimination,
            rotation=config.rotation > 0,
            codes=config.codes,
            joint=config.latent if config.encoder else 0,
        )
        self.softmax, width = config.head == "softmax", self.heads.width
        self.classes = nn.Linear(width, classes + 1 if self.softmax else classes)
        self.real = None if self.softmax else nn.Linear(width, 1)
        self.embedding = None if self.softmax else nn.Embedding(classes, width)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) → (N,F)."""
        h = minibatch_stddev(self.down(self.first(x)))
        h = F.leaky_relu(self.conv(F.leaky_relu(h, 0.2)), 0.2)
        out: torch.Tensor = self.heads(F.leaky_relu(self.flat(h.flatten(1)), 0.2))
        return out

    def forward(self, x: torch.Tensor, labels: torch.Tensor, latents: torch.Tensor | None = None) -> CriticOutput:
        """Score and classify; the projection head follows Miyato & Koyama (2018, eq. 5)."""
        h = self.features(x)
        classes, match = self.classes(h).float(), self.heads.match(h, latents)
        if self.real is None or self.embedding is None:
            if match is not None:  # a logit of all classes against FAKE
                classes = torch.cat([classes[:, :-1] + match[:, None], classes[:, -1:]], 1)
            return CriticOutput(losses.realness(classes, labels), h, classes)
        score = self.real(h).squeeze(1) + (h * self.embedding(labels)).sum(1)
        return CriticOutput(score.float() if match is None else score.float() + match, h, classes)


class CGAN(Techniques):
    """See the module docstring."""

    class_order = True

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = self.add("generator", GeneratorNet(config, problem))
        self.d = self.add("discriminator", CriticNet(config, problem), spectral=config.spectral)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.with_encoder(self.g), config.learning_rate, (0.0, 0.99))
        self.adam("d", self.d, config.learning_rate, (0.0, 0.99))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one critic update and one generator update, each on as many fakes as reals."""
        real, labels = self.in_class_order(images, labels)
        loss_d, metrics = self._critic_loss(real, labels)
        self.update("d", loss_d)
        with self.frozen("discriminator"):
            loss_g = self._generator_loss(real, labels)
            self.update("g", loss_g)
        self.finish_step(len(real))
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach(), **metrics}

    def _critic_loss(self, real: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        reals, fakes = self.show(real, labels)
        as_real, as_fake = self.flipped(reals, fakes)
        if self.config.head == "softmax":
            as_class, fake = losses.class_or_fake(as_real.output.classes, as_real.labels, as_fake.output.classes)
            loss = as_class + fake
        else:
            loss = self.critic_loss(as_real, as_fake)
            # Reals only: from fakes it would learn the generator's mistakes.
            if self.config.class_weight:
                loss = loss + losses.classification(reals.output.classes, labels)
        self.observe(reals.output.score)
        # Near 0 the critic cannot tell reals from fakes, and the generator learns nothing.
        sign = reals.output.score.detach().sign().mean()
        return self.with_critic_terms(loss, reals, fakes), {"sign_real": sign}

    def _generator_loss(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        on_real = self.compared(real, labels)
        fake = self.fakes(labels)
        loss = self.generator_loss(fake, on_real)
        if self.config.class_weight:
            classes = fake.output.classes[:, : len(self.problem.classes)]
            loss = loss + self.config.class_weight * losses.classification(classes, fake.labels)
        return self.with_generator_terms(loss, fake, on_real)


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled, or that a technique does not fit."""
    check_techniques(config, problem)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> CGAN:
    """Build an untrained cgan."""
    return CGAN(config, problem, runtime, seed)
