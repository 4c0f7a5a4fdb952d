"""DAGAN: an image of a class goes in, another image of that class comes out (Antoniou et al. 2017).

A U-Net of residual, densely connected blocks; its critic sees pairs, either two images of one class or an
image and what was made from it, and so learns what a class shares. WGAN-GP with weight 10 over all
non-batch axes, five critic updates a generator's; or, cheaper, the logistic loss with lazy R1. Every image
records the train image that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import ClassRows, Pool, Runtime
from augpipe.core.images import ImageSet, to_float, to_uint8
from augpipe.core.seeds import torch_stream
from augpipe.generators.adversarial import (
    RECALIBRATION,
    SAMPLED_AT_ONCE,
    Adversarial,
    AdversarialConfig,
)
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn import losses
from augpipe.nn.augment import Operations
from augpipe.nn.blocks import Dropout
from augpipe.nn.ema import EMA, recalibrate
from augpipe.nn.penalties import gradient_penalty, r1

LEVELS = (64, 64, 128, 128)  # the paper's channels
NOISE_MAPS = (8, 4, 2)  # channels of noise at the decoder's first levels


class Config(AdversarialConfig):
    """Options of DAGAN."""

    derives: ClassVar[bool] = True

    kind: Literal["dagan"]
    """DAGAN: makes another image of the class from an image (Antoniou et al. 2017)."""

    batch: int = Field(default=32, ge=2)
    """Real images per training step."""

    width: float = Field(default=0.25, gt=0, le=4)
    """Multiple of the paper's channels."""

    inner: int = Field(default=3, ge=1, le=8)
    """Convolutions per level of the generator."""

    critic_inner: int = Field(default=5, ge=1, le=8)
    """Convolutions per level of the critic."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout rate of the generator's decoder and of the critic."""

    critic_steps: int = Field(default=5, ge=1)
    """Critic steps per generator step."""

    loss: Literal["wasserstein", "logistic"] = "wasserstein"
    """`wasserstein` with a gradient penalty, as in the paper, or `logistic` with R1."""

    mismatched: float = Field(default=0.0, ge=0, lt=1)
    """Weight of real pairs from two classes as negatives, beside that of fake pairs (Reed et al. 2016, 4.2); 0 as in the
    paper."""

    r1: float = Field(default=0.01, ge=0)
    """With `logistic`: weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` critic steps."""

    r1_every: int = Field(default=16, ge=1)
    """With `logistic`: critic steps between two R1 penalties."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Learning rate of Adam."""

    augment: Operations = ()
    """Differentiable operations on reals and fakes (DiffAugment, Zhao et al. 2020); none as in the paper."""

    @property
    def signed(self) -> bool:
        """With the logistic loss alone."""
        return self.loss == "logistic"


def _plan(config: Config, problem: Problem) -> list[int]:
    """Channels of each level: as many as halve the image down to 3 pixels or more, four at most."""
    size, n = problem.spec.size, 0
    while n < len(LEVELS) and size >= 6:
        size, n = -(-size // 2), n + 1
    return [max(8, round(config.width * w)) for w in LEVELS[:n]]


class Block(nn.Module):
    """`n` conv3, each on all that came before it and with a skip from two layers back.

    norm: `batch`, or `layer`, over a whole image's features. (N,I,H,W) → all of it concatenated, (N,`out`,H,W).
    """

    def __init__(self, i: int, o: int, n: int, norm: Literal["batch", "layer"]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i + j * o, o, 3, 1, 1) for j in range(n))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(o) if norm == "batch" else nn.GroupNorm(1, o) for _ in range(n)
        )
        self.out = i + n * o

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        all_, made = x, list[torch.Tensor]()
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(all_)), 0.2)
            if len(made) >= 2:
                h = h + made[-2]
            made.append(h)
            all_ = torch.cat([all_, h], 1)
        return all_


class GeneratorNet(nn.Module):
    """images (N,C,H,W) in [-1,1], latent (N,Z) → images of their classes (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        channels, size = _plan(config, problem), problem.spec.size
        below, sizes, kept = problem.spec.channels, [size], []
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for width in channels:
            kept.append(below)
            block = Block(below, width, config.inner, "batch")
            self.down.append(block)
            self.shrink.append(nn.Conv2d(block.out, width, 3, 2, 1))
            sizes.append(-(-sizes[-1] // 2))
            below = width
        self.drop = Dropout(config.dropout)
        self.up, self.merge, self.noise = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.places = list(zip(sizes[::-1], NOISE_MAPS, strict=False))[: len(channels)]
        for level, width in enumerate(reversed(channels)):
            maps = NOISE_MAPS[level] if level < len(NOISE_MAPS) else 0
            if maps:
                self.noise.append(nn.Linear(config.latent, maps * sizes[-1 - level] ** 2))
            # Above it come the level's own features, from the other side of the U.
            block = Block(below + maps + kept[-1 - level], width, config.inner, "batch")
            self.up.append(block)
            self.merge.append(nn.Conv2d(block.out, width, 3, 1, 1))
            below = width
        self.last = nn.Conv2d(below, problem.spec.channels, 3, 1, 1)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """See the class."""
        kept = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            kept.append(x)
            x = self.drop(F.leaky_relu(shrink(block(x)), 0.2))
        for level, skip in enumerate(reversed(kept)):
            if level < len(self.places):
                size, maps = self.places[level]
                x = torch.cat([x, self.noise[level](z).view(-1, maps, size, size).to(x.dtype)], 1)
            x = F.interpolate(x, size=skip.shape[2:])
            x = self.up[level](torch.cat([x, skip.to(x.dtype)], 1))
            x = F.leaky_relu(self.merge[level](x), 0.2)
        out: torch.Tensor = torch.tanh(self.last(x))
        return out


class CriticNet(nn.Module):
    """A pair of images stacked on channels (N,2C,H,W) → score (N,), float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        below, size = 2 * problem.spec.channels, problem.spec.size
        self.blocks, self.shrink = nn.ModuleList(), nn.ModuleList()
        for width in _plan(config, problem):
            block = Block(below, width, config.critic_inner, "layer")
            self.blocks.append(block)
            self.shrink.append(nn.Conv2d(block.out, width, 3, 2, 1))
            below, size = width, -(-size // 2)
        self.drop = Dropout(config.dropout)
        self.last = nn.Linear(below * size**2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        for block, shrink in zip(self.blocks, self.shrink, strict=True):
            x = self.drop(F.leaky_relu(shrink(block(x)), 0.2))
        score: torch.Tensor = self.last(x.flatten(1))
        return score.squeeze(1).float()


class DAGAN(Adversarial):
    """See the module's head."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = self.add("generator", GeneratorNet(config, problem))
        self.d = self.add("discriminator", CriticNet(config, problem))
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.g, config.learning_rate, (0.0, 0.9))
        self.adam("d", self.d, config.learning_rate, (0.0, 0.9))
        self._source: tuple[Pool, ClassRows] | None = None

    def prepare(self, train: ImageSet) -> None:
        """Keep train: what goes in is drawn from it, and from it alone."""
        super().prepare(train)
        self._source = (Pool(train, self.runtime), ClassRows(train))

    def _sources(self) -> tuple[Pool, ClassRows]:
        if self._source is None:
            raise RuntimeError("DAGAN makes images from train's: call prepare(train) first")
        return self._source

    def _drawn(
        self, labels: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (N,) of train images of the classes asked for, and the images (N,C,H,W) in [-1,1]."""
        pool, by_class = self._sources()
        u = torch.rand(len(labels), generator=rng, dtype=torch.float64)
        rows = by_class.pick(labels.cpu(), u)
        return rows, to_float(self.runtime.move(pool.gather(rows)))

    def _others(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """uint8 (N,C,H,W): for each image another one of its class; itself where the class has no other.

        A real pair of one image twice would teach the generator to hand back what it is given (section 3).
        """
        pool, by_class = self._sources()
        labels = labels.cpu()
        u = torch.rand(len(labels), generator=self.rngs["noise"], dtype=torch.float64)
        found = pool.gather(by_class.pick(labels, u))
        same = (found == images.to(found.device)).flatten(1).all(1)
        if bool(same.any()):
            own = labels[same.cpu()]
            shifted = (u[same.cpu()] + 1 / by_class.sizes[own]) % 1
            found[same] = pool.gather(by_class.pick(own, shifted))
        return found

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """One critic update on pairs; every `critic_steps`-th time one of the generator."""
        other, _ = self.own_part(self._others(images, labels), labels)
        one, _ = self.own_part(images, labels)
        loss_d = self._critic_loss(one, other, self._strangers(labels))
        self.update("d", loss_d)
        told = {"loss_d": loss_d.detach()}
        if (self.steps + 1) % self.config.critic_steps == 0:
            with self.frozen("discriminator"):
                loss_g = self._generator_loss(one)
                self.update("g", loss_g)
            told["loss_g"] = loss_g.detach()
        self.stepped(len(one))
        return told

    def _made(self, one: torch.Tensor) -> torch.Tensor:
        n = parallel.everyone(len(one))
        z = parallel.own(torch.randn(n, self.config.latent, generator=self.rngs["noise"]))
        made: torch.Tensor = self.g(one, z.to(self.runtime.device))
        return made.float()

    def _pair(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Stacked on channels, each changed by the same draw."""
        before = self.rngs["device"].get_state()
        one = self.augmented(one)
        self.rngs["device"].set_state(before)
        return torch.cat([one, self.augmented(other)], 1)

    def _strangers(self, labels: torch.Tensor) -> torch.Tensor | None:
        """For each of this process's labels an image of another class, where such pairs are shown."""
        if not self.config.mismatched or len(self.present) < 2:
            return None
        return parallel.own(self._drawn(self.wrong(labels.cpu()), self.rngs["noise"])[1])

    def _critic_loss(
        self, one: torch.Tensor, other: torch.Tensor, stranger: torch.Tensor | None = None
    ) -> torch.Tensor:
        wasserstein = self.config.loss == "wasserstein"
        against = losses.critic_wasserstein if wasserstein else losses.discriminator_bce
        with self.runtime.autocast():
            with torch.no_grad():
                fake = self._pair(one, self._made(one))
            real = self._pair(one, other)
            on_real, on_fake = self.d(real), self.d(fake)
            loss = against(on_real, on_fake)
            if stranger is not None:
                on_wrong = self.d(self._pair(one, stranger))
                loss = torch.lerp(loss, against(on_real, on_wrong), self.config.mismatched)
            if wasserstein:
                return loss + 10 * gradient_penalty(self.d, real, fake, self.rngs["device"])
            self.observe(on_real)
            if self.config.r1 and self.steps % self.config.r1_every == 0:
                loss = loss + self.config.r1 * self.config.r1_every * r1(self.d, real)
            return loss

    def _generator_loss(self, one: torch.Tensor) -> torch.Tensor:
        with self.runtime.autocast():
            score = self.d(self._pair(one, self._made(one)))
        if self.config.loss == "wasserstein":
            return losses.generator_score(score)
        return losses.generator_bce(score)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """See `derive`."""
        return self.derive(labels, rng).images

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Images of the averaged generator, each from a train image of its class, which is its parent."""
        if len(labels) == 0:
            empty = torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)
            return Derived(empty, torch.empty(0, dtype=torch.int64))
        if self._stale:
            self._recalibrate()
        done, parents = [], []
        for part in labels.split(SAMPLED_AT_ONCE):
            rows, inputs = self._inputs(part, rng)
            with self.runtime.autocast():
                done.append(to_uint8(self.ema.module(*inputs)).cpu())
            parents.append(rows)
        return Derived(torch.cat(done).contiguous(), torch.cat(parents))

    def _inputs(
        self, labels: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        rows, one = self._drawn(labels, rng)
        z = torch.randn(len(labels), self.config.latent, generator=rng)
        return rows, (one, z.to(self.runtime.device))

    def _recalibrate(self) -> None:
        batches, size = RECALIBRATION
        rng = torch_stream(0, "recalibration")

        def inputs() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for _ in range(batches):
                yield self._inputs(self.asked(size, rng), rng)[1]

        with self.runtime.autocast():
            recalibrate(self.ema.module, inputs())
        self._stale = False


def check(config: Config, problem: Problem) -> None:
    """Any image size will do."""


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DAGAN:
    """A fresh DAGAN."""
    return DAGAN(config, problem, runtime, seed)
