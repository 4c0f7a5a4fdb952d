"""ACGAN: a discriminator that also tells the class (Odena, Olah & Shlens 2017).

Topology of the paper's appendix A for 32x32, shortened or lengthened to other sizes; practice of the
public MNIST implementations: the latent is multiplied by a label embedding, labels of fakes are drawn
uniformly, the discriminator's class loss stands on reals only, the generator's batch is twice the
discriminator's. Added for small classes: DiffAugment in both steps, and an average of the generator's
weights with recomputed batch statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from augpipe.generators import GeneratorConfig, Problem
from augpipe.images import ImageSet, to_float, to_uint8
from augpipe.nn import losses
from augpipe.nn.augment import diff_augment, ops
from augpipe.nn.blocks import Dropout, doublings, initialise, use_rng
from augpipe.nn.ema import EMA, recalibrate
from augpipe.runtime import Runtime
from augpipe.seeds import capture, restore, torch_stream

SAMPLED_AT_ONCE = 256
RECALIBRATION = (8, 128)  # batches and their size


class Config(GeneratorConfig):
    """Options of ACGAN; widths are multiples of the paper's."""

    kind: Literal["acgan"]
    latent: int = Field(default=100, ge=1)
    width: float = Field(default=1.0, gt=0, le=16)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    real_target: float = Field(default=0.9, gt=0.5, le=1)  # one-sided label smoothing
    class_weight: float = Field(default=1.0, ge=0)  # of the class loss, against real/fake
    augment: tuple[str, ...] = ("translation", "cutout")
    ema_half_kimg: float = Field(default=5.0, gt=0)

    @field_validator("augment")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            ops[name]
        return names


class GeneratorNet(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        widths = [max(8, round(config.width * 384 / 2**level)) for level in range(k)]
        self.embedding = nn.Embedding(len(problem.classes), config.latent)
        self.first = nn.Linear(config.latent, widths[0] * self.base**2)
        self.norm = nn.BatchNorm2d(widths[0])
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], problem.spec.channels, 4, 2, 1), nn.Tanh()]
        self.up = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.first(z * self.embedding(labels))
        x = x.view(len(z), -1, self.base, self.base)
        out: torch.Tensor = self.up(torch.relu(self.norm(x)))
        return out


class DiscriminatorNet(nn.Module):
    """(N,C,H,W) in [-1,1] → logits real/fake (N,) and class (N,K), both float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        # The paper's six widths are for three halvings; other sizes take the last ones.
        paper = [16] * max(0, 2 * k - 6) + [16, 32, 64, 128, 256, 512]
        widths = [max(8, round(config.width * w)) for w in paper[-2 * k :]]
        layers: list[nn.Module] = []
        below = problem.spec.channels
        for level, width in enumerate(widths):
            layers.append(nn.Conv2d(below, width, 3, 2 - level % 2, 1))
            if level:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.LeakyReLU(0.2), Dropout(config.dropout)]
            below = width
        self.trunk = nn.Sequential(*layers)
        self.real = nn.Linear(below * base**2, 1)
        self.classes = nn.Linear(below * base**2, len(problem.classes))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        h = self.trunk(x).flatten(1)
        return self.real(h).squeeze(1).float(), self.classes(h).float()


class ACGAN:
    """See the module's head."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        self.config, self.problem, self.runtime = config, problem, runtime
        generator, discriminator = (
            GeneratorNet(config, problem),
            DiscriminatorNet(config, problem),
        )
        for name, net in (("generator", generator), ("discriminator", discriminator)):
            initialise(net, torch_stream(seed, "weights", name), "dcgan")
        self.g, self.d = runtime.place(generator), runtime.place(discriminator)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.opt_g, self.opt_d = (
            torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.5, 0.999))
            for net in (self.g, self.d)
        )
        # Two streams: what is drawn on the CPU and what is drawn where the nets are.
        self.rngs = {
            "noise": torch_stream(seed, "noise"),
            "device": torch_stream(seed, "device", device=runtime.device),
        }
        use_rng(self.d, self.rngs["device"])
        self.seen = 0
        self._stale = False  # the averaged weights moved since their batch statistics were computed

    def prepare(self, train: ImageSet) -> None:
        """Nothing to look at."""

    def _latents(self, n: int, rng: torch.Generator) -> torch.Tensor:
        """U(-1,1) of (n, latent)."""
        z = torch.rand(n, self.config.latent, generator=rng) * 2 - 1
        return z.to(self.runtime.device)

    def _labels(self, n: int, rng: torch.Generator) -> torch.Tensor:
        """Uniform over classes, (n,)."""
        k = len(self.problem.classes)
        return torch.randint(0, k, (n,), generator=rng).to(self.runtime.device)

    def _judge(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = diff_augment(x, self.config.augment, self.rngs["device"])
        logits: tuple[torch.Tensor, torch.Tensor] = self.d(x)
        return logits

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """One discriminator update on a batch, one generator update on twice its size."""
        real, labels = to_float(self.runtime.move(images)), labels.to(self.runtime.device)
        loss_d, accuracy = self._discriminator_loss(real, labels)
        _update(self.opt_d, loss_d)
        self.d.requires_grad_(
            False
        )  # the generator's backward pass needs no gradient of its weights
        loss_g = self._generator_loss(2 * len(real))
        _update(self.opt_g, loss_g)
        self.d.requires_grad_(True)
        self.ema.update(self.g, self.seen, len(real))
        self.seen += len(real)
        self._stale = True
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "class_accuracy_real": accuracy,
        }

    def _discriminator_loss(
        self, real: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n, noise = len(real), self.rngs["noise"]
        with self.runtime.autocast():
            with torch.no_grad():
                fake = self.g(self._latents(n, noise), self._labels(n, noise))
            on_real, classes = self._judge(real)
            on_fake, _ = self._judge(fake.float())
        loss = losses.discriminator_bce(on_real, on_fake, self.config.real_target)
        loss = loss + self.config.class_weight * losses.classification(classes, labels)
        return loss, (classes.argmax(1) == labels).float().mean()

    def _generator_loss(self, n: int) -> torch.Tensor:
        noise = self.rngs["noise"]
        asked = self._labels(n, noise)
        with self.runtime.autocast():
            on_fake, classes = self._judge(self.g(self._latents(n, noise), asked).float())
        loss = losses.generator_bce(on_fake)
        return loss + self.config.class_weight * losses.classification(classes, asked)

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Images of the averaged generator, whose batch statistics are recomputed after each step."""
        if len(labels) == 0:
            return torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)
        if self._stale:
            self._recalibrate()
        done = []
        for part in labels.split(SAMPLED_AT_ONCE):
            z = self._latents(len(part), rng)
            with self.runtime.autocast():
                images = self.ema.module(z, part.to(self.runtime.device))
            done.append(to_uint8(images).cpu())
        return torch.cat(done).contiguous()

    def _recalibrate(self) -> None:
        batches, size = RECALIBRATION
        # A stream of its own: looking at the generator must not change its training.
        rng = torch_stream(0, "recalibration")
        with self.runtime.autocast():
            recalibrate(
                self.ema.module,
                ((self._latents(size, rng), self._labels(size, rng)) for _ in range(batches)),
            )
        self._stale = False

    def state_dict(self) -> dict[str, Any]:
        """Nets, average, optimisers, random streams, images seen."""
        return {
            "g": self.g.state_dict(),
            "d": self.d.state_dict(),
            "ema": self.ema.module.state_dict(),
            "opt_g": self.opt_g.state_dict(),
            "opt_d": self.opt_d.state_dict(),
            "rngs": capture(self.rngs),
            "seen": self.seen,
            "stale": self._stale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        for name, part in (
            ("g", self.g),
            ("d", self.d),
            ("ema", self.ema.module),
            ("opt_g", self.opt_g),
            ("opt_d", self.opt_d),
        ):
            part.load_state_dict(state[name])
        restore(self.rngs, state["rngs"])
        self.seen, self._stale = state["seen"], state["stale"]


def _update(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def check(config: Config, problem: Problem) -> None:
    """UserError for an image size that no stack of doublings reaches."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> ACGAN:
    """A fresh ACGAN."""
    return ACGAN(config, problem, runtime, seed)
