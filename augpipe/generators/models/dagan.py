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

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import to_uint8
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.from_train import FromTrain
from augpipe.generators.latents import SAMPLE_BATCH
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn import losses
from augpipe.nn.dense import DenseUNet, PairCritic
from augpipe.nn.ema import EMA
from augpipe.nn.options import Operations
from augpipe.nn.penalties import gradient_penalty


class Config(AdversarialConfig):
    """Options of DAGAN."""

    derives: ClassVar[bool] = True
    class_free: ClassVar[bool] = True
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


class DAGAN(FromTrain, Adversarial):
    """See the module docstring."""

    not_decoded = "each image depends on a training image besides its latent"

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        spec, width, dropout = problem.spec, config.width, config.dropout
        unet = DenseUNet(spec, width=width, latent=config.latent, inner=config.inner, dropout=dropout)
        critic = PairCritic(spec, width=width, inner=config.critic_inner, dropout=dropout)
        self.g = self.add("generator", unet)
        self.d = self.add("discriminator", critic)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.g, config.learning_rate, (0.0, 0.9))
        self.adam("d", self.d, config.learning_rate, (0.0, 0.9))

    def _others(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Draw for each image uint8 (N,C,H,W) another one of its class, or itself if the class has no other.

        A real pair of the same image twice would teach the generator to copy its input (section 3).
        """
        pool, by_class = self.train_images()
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
        return parallel.local_rows(self.draw_train(self.wrong(labels.cpu()), self.rngs["noise"])[1])

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
            rows, source = self.draw_train(chunk, rng)
            z = self._noise(chunk, rng)
            with self.runtime.autocast():
                chunks.append(to_uint8(self.ema.module(source, self.truncation * z)).cpu())
            parents.append(rows)
        return Derived(torch.cat(chunks).contiguous(), torch.cat(parents))

    def inputs(self, labels: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Draw train images of the labels, and latents; see `Adversarial`."""
        source = self.draw_train(labels, rng)[1]
        return source, self._noise(labels, rng)

    def _noise(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return self.latents(labels, rng).to(self.runtime.device)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DAGAN:
    """Build an untrained DAGAN."""
    return DAGAN(config, problem, runtime, seed)
