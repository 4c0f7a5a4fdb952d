"""cgan: a class-conditional GAN for small image sets, combining published techniques that work well on them.

The generator is residual with class-conditional batch norm, the critic is residual without norms. Training uses
lazy R1, minibatch standard deviation, DiffAugment or ADA, an average of the generator's weights, and draws reals
and fakes uniformly over classes. The critic has one of two heads: `softmax`, one softmax over the classes and FAKE
(Mariani et al. 2018), or `projection` with the hinge loss (Miyato & Koyama 2018). Spectral norm is optional.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augpipe.core.device import Runtime
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.norms import ConditionalBatchNorm2d, minibatch_stddev


class Config(AdversarialConfig):
    """Options of cgan."""

    kind: Literal["cgan"]
    """A residual class-conditional GAN for small image sets."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    kimg: float = Field(default=300.0, ge=0)
    """Training budget, in thousands of real images shown."""

    width: float = Field(default=16.0, gt=0, le=512)
    """Channels at full resolution; doubled with each halving of the resolution."""

    head: Literal["softmax", "projection"] = "softmax"
    """Critic's head: one `softmax` over the classes and FAKE (Mariani et al. 2018), or `projection` with the hinge loss
    (Miyato & Koyama 2018)."""

    class_weight: float = Field(default=0.0, ge=0)
    """Weight of the class cross-entropy in the generator's loss. Above 0, the projection critic also learns to classify
    reals."""

    spectral: bool = False
    """Spectral norm in the critic (Miyato et al. 2018)."""

    r1: float = Field(default=0.005, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 penalties (lazy regularisation, Karras et al. 2020)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.r1:
            yield "r1_every", "with r1: 0"


class Up(nn.Module):
    """Residual block that doubles the resolution: twice class-conditional norm, ReLU, conv3, with nearest 2x between.

    Upsampling after the first convolution makes that convolution four times cheaper.
    """

    def __init__(self, i: int, o: int, classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (ConditionalBatchNorm2d(i, classes), ConditionalBatchNorm2d(o, classes))
        self.conv1, self.conv2 = nn.Conv2d(i, o, 3, 1, 1), nn.Conv2d(o, o, 3, 1, 1)
        self.skip = nn.Conv2d(i, o, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(N,I,H,W) → (N,O,2H,2W)."""
        h = F.interpolate(self.conv1(F.relu(self.norm1(x, labels))), scale_factor=2)
        out: torch.Tensor = self.conv2(F.relu(self.norm2(h, labels)))
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
        self.first = nn.Linear(config.latent, channels[0] * self.base**2)
        self.up = nn.ModuleList(Up(a, b, classes) for a, b in pairwise(channels))
        self.norm = ConditionalBatchNorm2d(channels[-1], classes)
        self.last = nn.Conv2d(channels[-1], problem.spec.channels, 3, 1, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.first(z)
        x = x.unflatten(1, (-1, self.base, self.base))
        for block in self.up:
            x = block(x, labels)
        out: torch.Tensor = torch.tanh(self.last(F.relu(self.norm(x, labels))))
        return out


class CriticOutput(NamedTuple):
    """score (N,): above 0 means real and of the given label. classes: logits (N,K); (N,K+1) with the softmax head."""

    score: torch.Tensor
    classes: torch.Tensor


class CriticNet(nn.Module):
    """(N,C,H,W) in [-1,1], labels (N,) → CriticOutput, float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k)[::-1], len(problem.classes)
        self.first = nn.Conv2d(problem.spec.channels, channels[0], 3, 1, 1)
        self.down = nn.Sequential(*(Down(a, b) for a, b in pairwise(channels)))
        self.conv = nn.Conv2d(channels[-1] + 1, channels[-1], 3, 1, 1)
        self.flat = nn.Linear(channels[-1] * base**2, channels[-1])
        self.softmax = config.head == "softmax"
        self.classes = nn.Linear(channels[-1], classes + 1 if self.softmax else classes)
        self.real = None if self.softmax else nn.Linear(channels[-1], 1)
        self.embedding = None if self.softmax else nn.Embedding(classes, channels[-1])

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) → (N,F)."""
        h = minibatch_stddev(self.down(self.first(x)))
        h = F.leaky_relu(self.conv(F.leaky_relu(h, 0.2)), 0.2)
        out: torch.Tensor = self.flat(h.flatten(1))
        return F.leaky_relu(out, 0.2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> CriticOutput:
        """Score and classify; the projection head follows Miyato & Koyama (2018, eq. 5)."""
        h = self.features(x)
        classes = self.classes(h).float()
        if self.real is None or self.embedding is None:
            return CriticOutput(losses.realness(classes, labels), classes)
        score = self.real(h).squeeze(1) + (h * self.embedding(labels)).sum(1)
        return CriticOutput(score.float(), classes)


class CGAN(Adversarial):
    """See the module docstring."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = self.add("generator", GeneratorNet(config, problem))
        self.d = self.add("discriminator", CriticNet(config, problem), spectral=config.spectral)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.g, config.learning_rate, (0.0, 0.99))
        self.adam("d", self.d, config.learning_rate, (0.0, 0.99))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one critic update and one generator update, each on as many fakes as reals."""
        real, labels = self.in_class_order(images, labels)
        loss_d, metrics = self._critic_loss(real, labels)
        self.update("d", loss_d)
        with self.frozen("discriminator"):
            loss_g = self._generator_loss(len(real))
            self.update("g", loss_g)
        self.finish_step(len(real))
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach(), **metrics}

    def _critic_loss(self, real: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        real = self.augment(real)
        with self.runtime.autocast():
            z, fake_labels = self.noise(self.draw_labels(len(real)).sort()[0])
            with torch.no_grad():
                fake = self.g(z, fake_labels)
            on_real, on_fake = self.d(real, labels), self.d(self.augment(fake), fake_labels)
        if self.config.head == "softmax":
            as_class, as_fake = losses.class_or_fake(on_real.classes, labels, on_fake.classes)
            loss = as_class + as_fake
        else:
            loss = losses.discriminator_hinge(on_real.score, on_fake.score)
            # Reals only: from fakes it would learn the generator's mistakes.
            if self.config.class_weight:
                loss = loss + losses.classification(on_real.classes, labels)
        self.observe(on_real.score)
        loss = self.with_r1(loss, lambda x: self.d(x, labels).score, real, self.config.r1, self.config.r1_every)
        # Near 0 the critic cannot tell reals from fakes, and the generator learns nothing.
        return loss, {"sign_real": on_real.score.detach().sign().mean()}

    def _generator_loss(self, n: int) -> torch.Tensor:
        with self.runtime.autocast():
            z, fake_labels = self.noise(self.draw_labels(n).sort()[0])
            out = self.d(self.augment(self.g(z, fake_labels)), fake_labels)
        loss = losses.generator_bce(out.score) if self.config.head == "softmax" else losses.generator_score(out.score)
        if self.config.class_weight:
            classes = out.classes[:, : len(self.problem.classes)]
            loss = loss + self.config.class_weight * losses.classification(classes, fake_labels)
        return loss


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> CGAN:
    """Build an untrained cgan."""
    return CGAN(config, problem, runtime, seed)
