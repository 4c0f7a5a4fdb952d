"""DAGAN: generate another image of a class from a given image of it (Antoniou et al. 2017).

The generator is a U-Net of residual, densely connected blocks. The critic sees pairs, either two real images of a
class or a real image and the image generated from it, and so learns what images of a class have in common. The
loss is WGAN-GP with weight 10 over all non-batch axes and five critic updates per generator update, or, cheaper,
the logistic loss with lazy R1. Every generated image records the train image that it is derived from.
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
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.latents import SAMPLE_BATCH
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn import losses
from augpipe.nn.blocks import Dropout
from augpipe.nn.ema import EMA
from augpipe.nn.options import Operations
from augpipe.nn.penalties import gradient_penalty

LEVELS = (64, 64, 128, 128)  # the paper's channels
NOISE_MAPS = (8, 4, 2)  # channels of noise at the decoder's first levels


class Config(AdversarialConfig):
    """Options of DAGAN."""

    derives: ClassVar[bool] = True
    not_exported: ClassVar[str] = "its images are more than its network draws"

    kind: Literal["dagan"]
    """DAGAN: generates another image of a class from a train image (Antoniou et al. 2017)."""

    batch: int = Field(default=32, ge=2)
    """Real images per training step."""

    width: float = Field(default=0.25, gt=0, le=4)
    """Multiplier of the paper's channel counts."""

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
    """Weight of real pairs from two different classes among the critic's negatives; the rest are fake pairs (Reed et
    al. 2016, 4.2). 0 as in the paper."""

    r1: float = Field(default=0.01, ge=0)
    """With `logistic`: weight gamma of the R1 penalty (Mescheder et al.
    2018), applied every `r1_every` critic steps.
    """

    r1_every: int = Field(default=16, ge=1)
    """With `logistic`: critic steps between R1 penalties."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Learning rate of Adam."""

    augment: Operations = ()
    """Differentiable operations on reals and fakes (DiffAugment, Zhao et al. 2020); none as in the paper."""

    @property
    def signed(self) -> bool:
        """True with the logistic loss only."""
        return self.loss == "logistic"

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.loss != "logistic":
            for name in ("r1", "r1_every"):
                yield name, f"with loss: {self.loss}"
        elif not self.r1:
            yield "r1_every", "with r1: 0"


def _plan(config: Config, problem: Problem) -> list[int]:
    """Channels of each level: at most four levels, while the image stays at least 3 pixels wide."""
    size, n = problem.spec.size, 0
    while n < len(LEVELS) and size >= 6:
        size, n = -(-size // 2), n + 1
    return [max(8, round(config.width * w)) for w in LEVELS[:n]]


class Block(nn.Module):
    """`n` conv3, each on the concatenation of all earlier outputs, with a residual from two layers back.

    norm: `batch` or `layer` (over all features of an image). (N,I,H,W) → input and outputs concatenated, (N,`out`,H,W).
    """

    def __init__(self, i: int, o: int, n: int, norm: Literal["batch", "layer"]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i + j * o, o, 3, 1, 1) for j in range(n))
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) if norm == "batch" else nn.GroupNorm(1, o) for _ in range(n))
        self.out = i + n * o

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        concatenated, outputs = x, list[torch.Tensor]()
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(concatenated)), 0.2)
            if len(outputs) >= 2:
                h = h + outputs[-2]
            outputs.append(h)
            concatenated = torch.cat([concatenated, h], 1)
        return concatenated


class GeneratorNet(nn.Module):
    """images (N,C,H,W) in [-1,1], latent (N,Z) → images of their classes (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        channels, size = _plan(config, problem), problem.spec.size
        below, sizes, skips = problem.spec.channels, [size], []
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for width in channels:
            skips.append(below)
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
            # The input is the lower level, the noise, and the encoder's features of this level (skip).
            block = Block(below + maps + skips[-1 - level], width, config.inner, "batch")
            self.up.append(block)
            self.merge.append(nn.Conv2d(block.out, width, 3, 1, 1))
            below = width
        self.last = nn.Conv2d(below, problem.spec.channels, 3, 1, 1)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """See the class."""
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(x)
            x = self.drop(F.leaky_relu(shrink(block(x)), 0.2))
        for level, skip in enumerate(reversed(skips)):
            if level < len(self.places):
                size, maps = self.places[level]
                x = torch.cat([x, self.noise[level](z).view(-1, maps, size, size).to(x.dtype)], 1)
            x = F.interpolate(x, size=skip.shape[2:])
            x = self.up[level](torch.cat([x, skip.to(x.dtype)], 1))
            x = F.leaky_relu(self.merge[level](x), 0.2)
        out: torch.Tensor = torch.tanh(self.last(x))
        return out


class CriticNet(nn.Module):
    """Pairs of images, concatenated along channels (N,2C,H,W) → scores (N,), float32."""

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
    """See the module docstring."""

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
        """Store train: the generator's input images are drawn from it, and only from it."""
        super().prepare(train)
        self._source = (Pool(train, self.runtime), ClassRows(train))

    def _sources(self) -> tuple[Pool, ClassRows]:
        if self._source is None:
            raise RuntimeError("DAGAN needs its training set: call prepare(train) first")
        return self._source

    def _draw(self, labels: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a train image per label (N,): their rows (N,), and the images (N,C,H,W) in [-1,1]."""
        pool, by_class = self._sources()
        u = torch.rand(len(labels), generator=rng, dtype=torch.float64)
        rows = by_class.pick(labels.cpu(), u)
        return rows, to_float(self.runtime.move(pool.gather(rows)))

    def _others(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Draw for each image uint8 (N,C,H,W) another one of its class, or itself if the class has no other.

        A real pair of the same image twice would teach the generator to copy its input (section 3).
        """
        pool, by_class = self._sources()
        labels = labels.cpu()
        u = torch.rand(len(labels), generator=self.rngs["noise"], dtype=torch.float64)
        others = pool.gather(by_class.pick(labels, u))
        same = (others == images.to(others.device)).flatten(1).all(1)
        if bool(same.any()):
            repeated = labels[same.cpu()]
            # Move on to the next image of the class: 1 / (its number of images) further, modulo 1.
            shifted = (u[same.cpu()] + 1 / by_class.sizes[repeated]) % 1
            others[same] = pool.gather(by_class.pick(repeated, shifted))
        return others

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one critic update on pairs, and every `critic_steps` steps one generator update."""
        other, _ = self.local_batch(self._others(images, labels), labels)
        real, _ = self.local_batch(images, labels)
        loss_d = self._critic_loss(real, other, self._other_classes(labels))
        self.update("d", loss_d)
        metrics = {"loss_d": loss_d.detach()}
        if (self.steps + 1) % self.config.critic_steps == 0:
            with self.frozen("discriminator"):
                loss_g = self._generator_loss(real)
                self.update("g", loss_g)
            metrics["loss_g"] = loss_g.detach()
        self.finish_step(len(real))
        return metrics

    def _generate(self, source: torch.Tensor) -> torch.Tensor:
        n = parallel.global_count(len(source))
        z = parallel.local_rows(torch.randn(n, self.config.latent, generator=self.rngs["noise"]))
        images: torch.Tensor = self.g(source, z.to(self.runtime.device))
        return images.float()

    def _pair(self, source: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Concatenate pairs along channels; both images of a pair get the same augmentation."""
        before = self.rngs["device"].get_state()
        source = self.augment(source)
        self.rngs["device"].set_state(before)
        return torch.cat([source, self.augment(other)], 1)

    def _other_classes(self, labels: torch.Tensor) -> torch.Tensor | None:
        """Draw for each label of this process an image of another class; None without such pairs."""
        if not self.config.mismatched or len(self.present) < 2:
            return None
        return parallel.local_rows(self._draw(self.wrong(labels.cpu()), self.rngs["noise"])[1])

    def _critic_loss(
        self, source: torch.Tensor, other: torch.Tensor, mismatch: torch.Tensor | None = None
    ) -> torch.Tensor:
        wasserstein = self.config.loss == "wasserstein"
        critic_loss = losses.critic_wasserstein if wasserstein else losses.discriminator_bce
        with self.runtime.autocast():
            with torch.no_grad():
                fake = self._pair(source, self._generate(source))
            real = self._pair(source, other)
            on_real, on_fake = self.d(real), self.d(fake)
            loss = critic_loss(on_real, on_fake)
            if mismatch is not None:
                on_wrong = self.d(self._pair(source, mismatch))
                loss = torch.lerp(loss, critic_loss(on_real, on_wrong), self.config.mismatched)
            if wasserstein:
                return loss + 10 * gradient_penalty(self.d, real, fake, self.rngs["device"])
            self.observe(on_real)
            return self.with_r1(loss, self.d, real, self.config.r1, self.config.r1_every)

    def _generator_loss(self, source: torch.Tensor) -> torch.Tensor:
        with self.runtime.autocast():
            score = self.d(self._pair(source, self._generate(source)))
        if self.config.loss == "wasserstein":
            return losses.generator_score(score)
        return losses.generator_bce(score)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The images of `derive`."""
        return self.derive(labels, rng).images

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Sample the averaged generator, each image from a train image of its class, its parent."""
        if len(labels) == 0:
            empty = torch.empty((0, *self.problem.spec.shape), dtype=torch.uint8)
            return Derived(empty, torch.empty(0, dtype=torch.int64))
        if self._stale:
            self._recalibrate()
        chunks, parents = [], []
        for chunk in labels.split(SAMPLE_BATCH):
            rows, source = self._draw(chunk, rng)
            z = self._noise(chunk, rng)
            with self.runtime.autocast():
                chunks.append(to_uint8(self.ema.module(source, self.truncation * z)).cpu())
            parents.append(rows)
        return Derived(torch.cat(chunks).contiguous(), torch.cat(parents))

    def inputs(self, labels: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Draw train images of the labels, and latents; see `Adversarial`."""
        source = self._draw(labels, rng)[1]
        return source, self._noise(labels, rng)

    def _noise(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return self.latents(labels, rng).to(self.runtime.device)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DAGAN:
    """Build an untrained DAGAN."""
    return DAGAN(config, problem, runtime, seed)
