"""DeepSMOTE: SMOTE between the codes of an autoencoder (Dablain et al. 2021).

An autoencoder of all classes minimises the reconstruction error plus, in each step, a penalty on images of a single
class. The penalty has two versions. In the paper's algorithm 1 the codes are permuted among the images, and the
decoder must produce the image at the new position, not the one that was encoded: the optimum of both losses lies
half-way to the mean of the class (with a penalty of 1, for nets that do not distinguish the two batches by their
statistics). In the authors' code the images are permuted with their codes and the encoder is fixed, so the penalty is
a reconstruction loss of the decoder alone.

A new image is decoded from a point between the code of a train image and that of one of its nearest neighbours in the
class; the nearer image is its parent. There is no discriminator. Batches are uniform over classes; in the paper they
follow the class frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import to_float, to_uint8
from augpipe.generators.adversarial import AdversarialConfig
from augpipe.generators.from_train import FromTrain
from augpipe.generators.interpolation import Interpolating
from augpipe.generators.latents import SAMPLE_BATCH
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.options import Operations


class Config(AdversarialConfig):
    """Options of DeepSMOTE."""

    derives: ClassVar[bool] = True
    not_truncated: ClassVar[str] = "it interpolates between images of train, and draws no latents"
    not_exported: ClassVar[str] = "its images are more than its network draws"

    kind: Literal["deepsmote"]
    """DeepSMOTE: SMOTE between the codes of an autoencoder (Dablain et al. 2021)."""

    latent: int = Field(default=300, ge=1)
    """Dimension of a code."""

    width: float = Field(default=32.0, gt=0, le=512)
    """Channels at full resolution; the paper: 64."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """Learning rate of Adam; the paper: 2e-4."""

    penalty: float = Field(default=1.0, ge=0)
    """Weight of the penalty, the loss on permuted images of one class; 1 in the paper."""

    permuted: Literal["both", "codes"] = "both"
    """What the penalty permutes: `codes`, as in the paper's algorithm, or `both` images and codes, as in the authors'
    code."""

    neighbours: int = Field(default=5, ge=1)
    """The second code is drawn from this many nearest codes of the class."""

    augment: Operations = ()
    """Must be empty: DeepSMOTE has no discriminator."""

    @model_validator(mode="after")
    def _check_no_augmentation(self) -> Config:
        if self.augment or self.ada:
            raise ValueError("deepsmote has no discriminator: leave out augment and ada")
        return self

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.penalty:
            yield "permuted", "with penalty: 0"


def _halving(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))


def _doubling(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class Autoencoder(nn.Module):
    """Convolutional autoencoder: kernel 4, stride 2, batch norm; a linear layer to the code and one back."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels = widths(config.width, k)  # from the base resolution up
        up, down = channels, channels[::-1]
        self.encoder = nn.Sequential(
            nn.Conv2d(problem.spec.channels, down[0], 3, 1, 1),
            nn.LeakyReLU(0.2),
            *(_halving(a, b) for a, b in pairwise(down)),
            nn.Flatten(),
            nn.Linear(down[-1] * self.base**2, config.latent),
        )
        self.first = nn.Linear(config.latent, up[0] * self.base**2)
        self.decoder = nn.Sequential(
            *(_doubling(a, b) for a, b in pairwise(up)), nn.Conv2d(up[-1], problem.spec.channels, 3, 1, 1), nn.Tanh()
        )

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) in [-1,1] → codes (N,Z)."""
        codes: torch.Tensor = self.encoder(x)
        return codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (N,Z) → (N,C,H,W) in [-1,1]."""
        images: torch.Tensor = self.decoder(self.first(codes).view(len(codes), -1, self.base, self.base))
        return images

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct images (N,C,H,W) in [-1,1]."""
        return self.decode(self.encode(x))


class DeepSMOTE(Interpolating, FromTrain):
    """See the module docstring."""

    not_truncated = Config.not_truncated

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        net = Autoencoder(config, problem)
        self.net = net
        self.add("generator", net)
        self.ema = EMA(net, config.ema_half_kimg)
        self.adam("g", net, config.learning_rate, (0.9, 0.999))

    @property
    def neighbours(self) -> int:
        """See `Interpolating`."""
        return self.config.neighbours

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update on the reconstruction loss and the penalty (see the module docstring)."""
        real, _ = self.local_batch(images, labels)
        with self.runtime.autocast():
            loss = reconstruction = F.mse_loss(self.net(real).float(), real)
        metrics = {"loss_reconstruction": reconstruction.detach()}
        if self.config.penalty:
            penalty = self._penalty(len(real))
            loss = loss + self.config.penalty * penalty
            metrics["loss_penalty"] = penalty.detach()
        self.update("g", loss)
        self.finish_step(len(real))
        return metrics

    def _penalty(self, n: int) -> torch.Tensor:
        """Mean squared distance of n decoded codes per process to images of one class, drawn uniformly.

        With `both` only the decoder gets gradients, as in the authors' code: the encoder learns from the
        reconstruction loss alone.
        """
        rng, n = self.rngs["noise"], parallel.global_count(n)
        label = self.present[torch.randint(0, len(self.present), (1,), generator=rng)].expand(n)
        u = torch.rand(n, generator=rng, dtype=torch.float64)
        pool, by_class = self.train_images()
        real = to_float(self.runtime.move(pool.gather(parallel.local_rows(by_class.pick(label, u)))))
        if self.config.permuted == "both":
            with self.runtime.autocast():
                with torch.no_grad():
                    codes = self.net.encode(real)
                return F.mse_loss(self.net.decode(codes).float(), real)
        order = torch.randperm(n, generator=rng).to(real.device)
        with self.runtime.autocast():
            codes = parallel.gather(self.net.encode(real))
            permuted = self.net.decode(codes[parallel.local_rows(order)])
        return F.mse_loss(permuted.float(), real)

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """See `Interpolating`; batch statistics are recomputed first if the weights changed."""
        if len(labels) and self._stale:
            self._recalibrate()
        return super().derive(labels, rng)

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """See `Interpolating`."""
        pool, _ = self.train_images()
        chunks = []
        for chunk in rows.split(SAMPLE_BATCH):
            with self.runtime.autocast():
                codes = self._average().encode(to_float(self.runtime.move(pool.gather(chunk))))
            chunks.append(codes.float().cpu())
        return torch.cat(chunks)

    def decode(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Codes (N,Z) → images uint8 (N,C,H,W) of the averaged decoder, on the CPU; the labels have no effect."""
        chunks = []
        for chunk in latents.split(SAMPLE_BATCH):
            with self.runtime.autocast():
                images = self._average().decode(chunk.to(self.runtime.device))
            chunks.append(to_uint8(images).cpu())
        return torch.cat(chunks)

    def _average(self) -> Autoencoder:
        return cast(Autoencoder, self.ema.module)

    def inputs(self, labels: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Draw a train image of each label; see `LatentGenerator`."""
        return (self.draw_train(labels, rng)[1],)


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DeepSMOTE:
    """Build an untrained DeepSMOTE."""
    return DeepSMOTE(config, problem, runtime, seed)
