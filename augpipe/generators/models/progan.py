"""Progressive GAN: both nets start at the base resolution and double it step by step (Karras et al. 2018).

As in the paper: pixel norm in the generator, latents on the unit sphere, equalised learning rate, minibatch
standard deviation in the critic, WGAN-GP with drift, Adam reset at each new resolution, reals cross-faded like
fakes. `per_class: true` trains one model per class. Without it a label embedding is concatenated to the latent,
and the critic is a projection discriminator (Miyato & Koyama 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.blocks import EqualConv2d, EqualLinear, doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.norms import minibatch_stddev, pixel_norm
from augpipe.nn.options import Operations
from augpipe.nn.penalties import gradient_penalty


class Config(AdversarialConfig):
    """Options of progressive GAN."""

    not_truncated: ClassVar[str] = "its latents are projected to a sphere, so only their direction counts"
    not_exported: ClassVar[str] = "its images are more than its network draws"

    kind: Literal["progan"]
    """Progressive GAN: both nets grow from the base resolution (Karras et al. 2018)."""

    batch: int = Field(default=32, ge=2)
    """Real images per training step."""

    width: float = Field(default=8.0, gt=0, le=512)
    """Channels at full resolution, doubled with each halving of the resolution; the paper: at most 512."""

    growth: float = Field(default=0.5, ge=0, lt=1)
    """Fraction of the budget in which the nets grow, in equal phases of fading in and stabilising; the rest trains at
    full resolution."""

    penalty: float = Field(default=10.0, ge=0)
    """Weight of the gradient penalty (WGAN-GP, Gulrajani et al. 2017)."""

    drift: float = Field(default=1e-3, ge=0)
    """Weight of E[D(x)²], which keeps the critic's scores near 0."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""

    augment: Operations = ("translation",)
    """Differentiable operations on reals and fakes (DiffAugment, Zhao et al. 2020)."""

    @property
    def signed(self) -> bool:
        """False: the critic is a Wasserstein critic."""
        return False


def up(x: torch.Tensor) -> torch.Tensor:
    """Nearest-neighbour upsampling by 2."""
    return F.interpolate(x, scale_factor=2)


class _Progressive(nn.Module):
    """level: number of doublings started; alpha in (0,1]: weight of the newest resolution while it fades in."""

    level: int = 0
    alpha: float = 1.0


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


class _ConvPair(nn.Module):
    """Two conv3, each followed by LeakyReLU 0.2 and `norm`."""

    def __init__(self, a: int, b: int, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualConv2d(a, b, 3), EqualConv2d(b, c, 3)

    def forward(self, x: torch.Tensor, norm: Callable[[torch.Tensor], torch.Tensor] = _same) -> torch.Tensor:
        x = norm(F.leaky_relu(self.conv1(x), 0.2))
        return norm(F.leaky_relu(self.conv2(x), 0.2))


class GeneratorNet(_Progressive):
    """latent (N,Z), labels (N,) → (N,C,h,h), unbounded, at the resolution of the current level."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k, 32), len(problem.classes)
        self.embedding = nn.Embedding(classes, config.latent) if classes > 1 else None
        inputs = config.latent * (2 if classes > 1 else 1)
        # The first layer maps one vector to base x base positions, which all count in its fan-in.
        self.first = EqualLinear(inputs, channels[0] * self.base**2, gain=math.sqrt(2) / 4)
        self.second = EqualConv2d(channels[0], channels[0], 3)
        self.blocks = nn.ModuleList(_ConvPair(a, b, b) for a, b in pairwise(channels))
        self.to_image = nn.ModuleList(EqualConv2d(c, problem.spec.channels, 1, gain=1.0) for c in channels)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = pixel_norm(z)
        if self.embedding is not None:
            x = torch.cat([x, pixel_norm(self.embedding(labels))], 1)
        x = self.first(x).view(len(z), -1, self.base, self.base)
        x = pixel_norm(F.leaky_relu(x, 0.2))
        x = pixel_norm(F.leaky_relu(self.second(x), 0.2))
        below = x
        for block in list(self.blocks)[: self.level]:
            below = x
            x = block(up(x), pixel_norm)
        out: torch.Tensor = self.to_image[self.level](x)
        if self.alpha < 1:
            out = torch.lerp(up(self.to_image[self.level - 1](below)), out, self.alpha)
        return out


class CriticNet(_Progressive):
    """(N,C,h,h) at the current level's resolution, labels (N,) → scores (N,), float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k, 32), len(problem.classes)
        self.from_image = nn.ModuleList(EqualConv2d(problem.spec.channels, c, 1) for c in channels)
        # Block i maps level i+1 to level i.
        self.blocks = nn.ModuleList(_ConvPair(b, b, a) for a, b in pairwise(channels))
        self.conv = EqualConv2d(channels[0] + 1, channels[0], 3)
        self.flat = EqualLinear(channels[0] * base**2, channels[0])
        self.last = EqualLinear(channels[0], 1, gain=1.0)
        self.embedding = nn.Embedding(classes, channels[0]) if classes > 1 else None

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = F.leaky_relu(self.from_image[self.level](x), 0.2)
        for i in reversed(range(self.level)):
            h = F.avg_pool2d(self.blocks[i](h), 2)
            if i == self.level - 1 and self.alpha < 1:
                below = F.leaky_relu(self.from_image[i](F.avg_pool2d(x, 2)), 0.2)
                h = torch.lerp(below, h, self.alpha)
        h = F.leaky_relu(self.conv(minibatch_stddev(h)), 0.2)
        h = F.leaky_relu(self.flat(h.flatten(1)), 0.2)
        score: torch.Tensor = self.last(h).squeeze(1)
        if self.embedding is not None:
            score = score + (h * self.embedding(labels)).sum(1) / math.sqrt(h.shape[1])
        return score.float()


class ProGAN(Adversarial):
    """See the module docstring."""

    not_truncated = Config.not_truncated

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.doublings = doublings(problem.spec.size)[1]
        self.g = self.add("generator", GeneratorNet(config, problem))
        self.d = self.add("discriminator", CriticNet(config, problem))
        self.ema = EMA(self.g, config.ema_half_kimg)
        # True after a warm start from full resolution: skip the growing phases.
        self._full_size = False
        self._level = -1
        self._apply_phase()

    def phase(self) -> tuple[int, float]:
        """(level, alpha) for the images seen: stabilise, fade in, stabilise, ..., then full resolution."""
        phases = 2 * self.doublings  # the last stabilising phase is the rest of the budget
        length = self.config.growth * self.config.kimg * 1000 / phases  # of a phase, in images
        if self._full_size or length == 0 or self.seen >= phases * length:
            return self.doublings, 1.0
        phase, within = divmod(self.seen / length, 1)
        level = (int(phase) + 1) // 2
        # A fade starts one step above alpha 0, where the new layers would have no gradient.
        fading = int(phase) % 2 == 1
        return level, max(within, self.config.batch / length) if fading and within < 1 else 1.0

    def _apply_phase(self) -> None:
        """Set level and alpha of the nets; reset the optimisers at a new level."""
        level, alpha = self.phase()
        for net in (self.g, self.d, self.ema.module):
            progressive = cast(_Progressive, net)
            progressive.level, progressive.alpha = level, min(1.0, alpha)
        if level != self._level:
            self._level = level
            for name, net in (("g", self.g), ("d", self.d)):
                old = self.optimisers.get(name)
                rate = old.param_groups[0]["lr"] if old else self.config.learning_rate
                self.adam(name, net, rate, (0.0, 0.99))

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents N(0,1), (N,Z); the net projects them to the sphere."""
        return torch.randn(len(labels), self.config.latent, generator=rng)

    def shown(self, x: torch.Tensor) -> torch.Tensor:
        """Reals (N,C,H,W) → (N,C,h,h) at the current resolution; cross-faded with the lower one while fading in."""
        level, alpha = self.phase()
        x = F.avg_pool2d(x, 2 ** (self.doublings - level)) if level < self.doublings else x
        return torch.lerp(up(F.avg_pool2d(x, 2)), x, min(1.0, alpha)) if alpha < 1 else x

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one critic update and one generator update at the current resolution."""
        self._apply_phase()
        real, labels = self.in_class_order(images, labels)
        loss_d = self._critic_loss(self.shown(real), labels)
        self.update("d", loss_d)
        with self.frozen("discriminator"):
            with self.runtime.autocast():
                z, fake_labels = self.noise(self.draw_labels(len(real)).sort()[0])
                loss_g = losses.generator_score(self.d(self.augment(self.g(z, fake_labels)), fake_labels))
            self.update("g", loss_g)
        self.finish_step(len(real))
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}

    def _critic_loss(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        real = self.augment(real)
        with self.runtime.autocast():
            # Fakes use the labels of the reals, so that an image between a real and a fake one has a class.
            z, _ = self.noise(parallel.gather(labels).cpu())
            with torch.no_grad():
                fake = self.augment(self.g(z, labels))
            on_real, on_fake = self.d(real, labels), self.d(fake, labels)
            penalty = gradient_penalty(lambda x: self.d(x, labels), real, fake, self.rngs["device"])
        return (
            losses.critic_wasserstein(on_real, on_fake)
            + self.config.penalty * penalty
            + self.config.drift * losses.drift(on_real)
        )

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `LatentGenerator`; images are enlarged while the averaged generator is below full resolution."""
        self._set_phase(self.ema.module)
        images = super().decode(latents, labels)
        factor = self.problem.spec.size // images.shape[2]
        return images if factor <= 1 else images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    def _set_phase(self, net: nn.Module) -> None:
        level, alpha = self.phase()
        progressive = cast(_Progressive, net)
        progressive.level, progressive.alpha = level, min(1.0, alpha)

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Load the nets of another progan; grow again unless it had reached full resolution."""
        super().warm_start(state)
        self._full_size = state["more"]["level"] == self.doublings
        self._apply_phase()

    def extra_state(self) -> dict[str, Any]:
        """Whether growing is skipped, and the level of the optimisers."""
        return {"grown": self._full_size, "level": self._level}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore `extra_state`; the next step resets the optimisers if the level differs."""
        self._full_size = state["grown"]
        self._level = state["level"]
        for net in (self.g, self.d, self.ema.module):
            self._set_phase(net)


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> ProGAN:
    """Build an untrained progressive GAN."""
    return ProGAN(config, problem, runtime, seed)
