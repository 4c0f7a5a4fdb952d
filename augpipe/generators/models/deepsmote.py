"""DeepSMOTE: SMOTE between the encodings of an autoencoder (Dablain et al. 2021).

An autoencoder of all classes learns to reconstruct, and each step once more from images of one class alone: the penalty.
Of that there are two. In the paper's algorithm 1 the codes are handed round among the images, and the decoder is asked
for the image that stands at the place, not for the code's own: the best answer to both losses lies half-way to the class's
mean (at a penalty of 1, for nets that do not tell the two batches apart by their statistics). In the code that the authors
published the images are handed round with their codes, and the encoder is held: a reconstruction, by the decoder alone.

A new image is decoded from between a train image's code and one of its nearest neighbours' in the class; the nearer end
is its parent. There is no discriminator. Batches are uniform over classes here, in the paper as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import ClassRows, Pool, Runtime
from augpipe.core.images import ImageSet, to_float, to_uint8
from augpipe.core.seeds import numpy_stream, torch_stream
from augpipe.generators.adversarial import (
    RECALIBRATION,
    SAMPLED_AT_ONCE,
    Adversarial,
    AdversarialConfig,
)
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn.augment import Operations
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.ema import EMA, recalibrate

MOST_ENCODED = 5000  # images of a class between which new ones lie


class Config(AdversarialConfig):
    """Options of DeepSMOTE."""

    derives: ClassVar[bool] = True

    kind: Literal["deepsmote"]
    """DeepSMOTE: SMOTE between the codes of an autoencoder (Dablain et al. 2021)."""

    latent: int = Field(default=300, ge=1)
    """Size of a code."""

    width: float = Field(default=32.0, gt=0, le=512)
    """Channels at full resolution; the paper: 64."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """Learning rate of Adam; the paper: 2e-4."""

    penalty: float = Field(default=1.0, ge=0)
    """Weight of the penalty, the loss of permuted images; 1 in the paper."""

    permuted: Literal["both", "codes"] = "both"
    """What the penalty permutes: `codes`, as in the paper's algorithm, or `both` images and codes, as in the authors'
    code."""

    neighbours: int = Field(default=5, ge=1)
    """The second code is drawn from this many nearest codes of the class."""

    augment: Operations = ()
    """Must be empty: there is no discriminator."""

    @model_validator(mode="after")
    def _nobody_judges(self) -> Config:
        if self.augment or self.ada:
            raise ValueError(
                "deepsmote has no discriminator to augment for; leave out augment and ada"
            )
        return self


def _halving(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))


def _doubling(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()
    )


class Autoencoder(nn.Module):
    """Convolutions of kernel 4 and stride 2 with batch norm on both sides, a linear layer to the code and back."""

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
            *(_doubling(a, b) for a, b in pairwise(up)),
            nn.Conv2d(up[-1], problem.spec.channels, 3, 1, 1),
            nn.Tanh(),
        )

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) in [-1,1] → codes (N,Z)."""
        codes: torch.Tensor = self.encoder(x)
        return codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (N,Z) → (N,C,H,W) in [-1,1]."""
        images: torch.Tensor = self.decoder(
            self.first(codes).view(len(codes), -1, self.base, self.base)
        )
        return images

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images and back."""
        return self.decode(self.encode(x))


class DeepSMOTE(Adversarial):
    """See the module's head. It keeps nets, average and streams as the adversarial families do."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        net = Autoencoder(config, problem)
        self.net = net
        self.add("generator", net)
        self.ema = EMA(net, config.ema_half_kimg)
        self.adam("g", net, config.learning_rate, (0.9, 0.999))
        self._source: tuple[Pool, ClassRows] | None = None
        self._codes: dict[int, tuple[NDArray[np.int64], torch.Tensor, NDArray[np.int64]]] = {}

    def prepare(self, train: ImageSet) -> None:
        """Keep train: its codes are what new images lie between."""
        super().prepare(train)
        self._source = (Pool(train, self.runtime), ClassRows(train))
        self._labels, self._codes = np.array(train.labels), {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave; codes are of the nets before."""
        super().load_state_dict(state)
        self._codes = {}

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """See `Adversarial`; likewise."""
        super().warm_start(state)
        self._codes = {}

    def _sources(self) -> tuple[Pool, ClassRows]:
        if self._source is None:
            raise RuntimeError("DeepSMOTE makes images from train's: call prepare(train) first")
        return self._source

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reconstruct the batch; decode one class's codes (see the module's head)."""
        real, _ = self.own_part(images, labels)
        with self.runtime.autocast():
            loss = rebuilt = F.mse_loss(self.net(real).float(), real)
        told = {"loss_reconstruction": rebuilt.detach()}
        if self.config.penalty:
            penalty = self._penalty(len(real))
            loss = loss + self.config.penalty * penalty
            told["loss_penalty"] = penalty.detach()
        self.update("g", loss)
        self.stepped(len(real))
        self._codes = {}
        return told

    def _penalty(self, n: int) -> torch.Tensor:
        """Mean squared distance of n decoded codes from images of a class drawn uniformly (n in each process).

        With `both` the decoder alone learns from it, as in the authors' code: what reaches the encoder is the
        reconstruction's loss.
        """
        pool, rows = self._sources()
        rng, n = self.rngs["noise"], parallel.everyone(n)
        label = self.present[torch.randint(0, len(self.present), (1,), generator=rng)].expand(n)
        u = torch.rand(n, generator=rng, dtype=torch.float64)
        own = to_float(self.runtime.move(pool.gather(parallel.own(rows.pick(label, u)))))
        if self.config.permuted == "both":
            with self.runtime.autocast():
                with torch.no_grad():
                    codes = self.net.encode(own)
                return F.mse_loss(self.net.decode(codes).float(), own)
        order = torch.randperm(n, generator=rng).to(own.device)
        with self.runtime.autocast():
            codes = parallel.gather(self.net.encode(own))
            handed = self.net.decode(codes[parallel.own(order)])
        return F.mse_loss(handed.float(), own)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """See `derive`."""
        return self.derive(labels, rng).images

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Images between two codes of the class by the averaged nets; the parent is the nearer end."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        if len(labels) and self._stale:
            self._recalibrate()
        for label in labels.unique().tolist():
            at = torch.nonzero(labels == label).squeeze(1)
            codes, parents[at] = self._between(label, len(at), rng)
            images[at] = self._decoded(codes)
        return Derived(images, parents)

    def _between(
        self, label: int, n: int, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """n codes (n,Z), and the rows of train that they are nearer to."""
        rows, codes, near = self._known(label)
        one = torch.randint(0, len(rows), (n,), generator=rng).numpy()
        which = torch.randint(0, near.shape[1], (n,), generator=rng).numpy()
        u = torch.rand(n, generator=rng)
        other = near[one, which]
        mixed = torch.lerp(codes[one], codes[other], u[:, None])
        return mixed, torch.from_numpy(rows[np.where(u.numpy() <= 0.5, one, other)])

    def _known(self, label: int) -> tuple[NDArray[np.int64], torch.Tensor, NDArray[np.int64]]:
        """Rows of a class's train images, their codes (on the CPU), and each one's nearest others."""
        if label not in self._codes:
            pool, _ = self._sources()
            rows = np.flatnonzero(self._labels == label).astype(np.int64)
            if len(rows) > MOST_ENCODED:
                stream = numpy_stream(self._seed, "encodings", label)
                rows = np.sort(stream.choice(rows, MOST_ENCODED, replace=False))
            codes = self._encoded(pool, torch.from_numpy(rows))
            k = min(self.config.neighbours, len(rows) - 1)
            near = np.zeros((len(rows), 1), np.int64)  # of one image: itself
            if k:
                near = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)
            self._codes[label] = rows, codes, near
        return self._codes[label]

    def _encoded(self, pool: Pool, rows: torch.Tensor) -> torch.Tensor:
        done = []
        for part in rows.split(SAMPLED_AT_ONCE):
            with self.runtime.autocast():
                codes = self._average().encode(to_float(self.runtime.move(pool.gather(part))))
            done.append(codes.float().cpu())
        return torch.cat(done)

    def _decoded(self, codes: torch.Tensor) -> torch.Tensor:
        done = []
        for part in codes.split(SAMPLED_AT_ONCE):
            with self.runtime.autocast():
                images = self._average().decode(part.to(self.runtime.device))
            done.append(to_uint8(images).cpu())
        return torch.cat(done)

    def _average(self) -> Autoencoder:
        return cast(Autoencoder, self.ema.module)

    def _recalibrate(self) -> None:
        batches, size = RECALIBRATION
        rng = torch_stream(0, "recalibration")
        pool, rows = self._sources()

        def inputs() -> Iterator[tuple[torch.Tensor]]:
            for _ in range(batches):
                labels = self.asked(size, rng)
                u = torch.rand(size, generator=rng, dtype=torch.float64)
                yield (to_float(self.runtime.move(pool.gather(rows.pick(labels, u)))),)

        with self.runtime.autocast():
            recalibrate(self.ema.module, inputs())
        self._stale, self._codes = False, {}


def check(config: Config, problem: Problem) -> None:
    """UserError for an image size that no stack of doublings reaches."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> DeepSMOTE:
    """A fresh DeepSMOTE."""
    return DeepSMOTE(config, problem, runtime, seed)
