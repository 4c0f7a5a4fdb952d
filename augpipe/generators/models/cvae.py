"""cvae: a class-conditional variational autoencoder (Kingma & Welling 2014; Sohn et al. 2015).

Encoder and decoder are residual networks, and both see the class. The decoder's distribution is normal with one
variance for all pixels, set to its optimum, the mean squared error of the batch (Rybkin et al. 2021, eq. 6): the
weights of reconstruction and KL divergence then need no tuning, and `beta: 1` is the evidence lower bound. Images are
the decoder's means, so they are smoother than real ones.

Latents are drawn from the prior, from the normal distribution that fits the encodings of the class's train images, or
between the encodings of two of them. In the last case the nearer image is the parent, and is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Pool, Runtime
from augpipe.core.images import ImageSet, to_float
from augpipe.generators.interpolation import Interpolation, class_rows
from augpipe.generators.latents import SAMPLE_BATCH, LatentConfig, LatentGenerator
from augpipe.generators.protocol import Derived, Problem
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.ema import EMA
from augpipe.nn.gaussians import ClassGaussians
from augpipe.nn.residual import Residual


class Config(LatentConfig):
    """Options of cvae."""

    kind: Literal["cvae"]
    """A class-conditional variational autoencoder (Kingma & Welling 2014; Sohn et al. 2015)."""

    latent: int = Field(default=64, ge=1)
    """Dimension of a latent."""

    width: float = Field(default=24.0, gt=0, le=512)
    """Channels at full resolution; doubled with each halving of the resolution, up to four times."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""

    beta: float = Field(default=1.0, gt=0)
    """Weight of the KL divergence; 1 is the evidence lower bound, more gives simpler latents (Higgins et al. 2017)."""

    free_bits: float = Field(default=0.0, ge=0)
    """Nats below which the KL divergence of a dimension of the latent is not lowered (Kingma et al. 2016, eq. 16)."""

    denoise: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of normal noise that is added to the encoder's input, in units of half the range of grey
    levels (Im et al. 2017)."""

    draw: Literal["prior", "class", "between"] = "class"
    """Where latents are drawn: from the `prior` N(0,1), from the normal distribution that fits the encodings of the
    `class`, or `between` the encodings of two train images of it (their nearer one is the parent)."""

    neighbours: int = Field(default=5, ge=1)
    """With `draw: between`: the second encoding is one of this many nearest of the class."""

    # A constant of the other families: here one option decides.
    @property
    def derives(self) -> bool:  # type: ignore[override]
        """See `GeneratorConfig`."""
        return self.draw == "between"

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.draw != "between":
            yield "neighbours", f"with draw: {self.draw}"


class Posterior(NamedTuple):
    """mean, log_variance (N,Z): of the normal distribution of an image's latent."""

    mean: torch.Tensor
    log_variance: torch.Tensor


class CVAENet(nn.Module):
    """Encoder and decoder; forward is the decoder: latents (N,Z), labels (N,) → (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels, classes = widths(config.width, k, most=4), len(problem.classes)
        vector = channels[0]
        pairs = list(pairwise(channels))
        self.encoder_class, self.decoder_class = nn.Embedding(classes, vector), nn.Embedding(classes, vector)
        self.stem = nn.Conv2d(problem.spec.channels, channels[-1], 3, 1, 1)
        self.down = nn.ModuleList(Residual(b, a, vector, resample="down") for a, b in reversed(pairs))
        self.posterior = nn.Linear(channels[0] * self.base**2, 2 * config.latent)
        self.first = nn.Linear(config.latent, channels[0] * self.base**2)
        self.latent = nn.Linear(config.latent, vector)
        self.up = nn.ModuleList(Residual(a, b, vector, resample="up") for a, b in pairs)
        self.last = nn.Conv2d(channels[-1], problem.spec.channels, 3, 1, 1)

    def encode(self, x: torch.Tensor, labels: torch.Tensor) -> Posterior:
        """(N,C,H,W) in [-1,1], labels (N,) → float32 moments of the latents."""
        h, vector = self.stem(x), F.silu(self.encoder_class(labels))
        for block in self.down:
            h = block(h, vector)
        mean, log_variance = self.posterior(F.silu(h).flatten(1)).float().chunk(2, 1)
        # Beyond these, exp() of the variance leaves float32's range before the loss pulls it back.
        return Posterior(mean, log_variance.clamp(-20, 10))

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vector = F.silu(self.decoder_class(labels) + self.latent(z))
        h = self.first(z).unflatten(1, (-1, self.base, self.base))
        for block in self.up:
            h = block(h, vector)
        out: torch.Tensor = torch.tanh(self.last(F.silu(h)))
        return out


def kl_divergence(posterior: Posterior) -> torch.Tensor:
    """KL(N(mean, variance) || N(0,1)) of each latent and dimension, (N,Z) (Kingma & Welling 2014, appendix B)."""
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class CVAE(LatentGenerator):
    """See the module docstring."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        net = CVAENet(config, problem)
        self.net = net
        self.add("generator", net)
        self.ema = EMA(net, config.ema_half_kimg)
        self.adam("g", net, config.learning_rate, (0.9, 0.999))
        self._pool: Pool | None = None

    def prepare(self, train: ImageSet) -> None:
        """Store train, whose images are encoded."""
        super().prepare(train)
        self._pool, self._labels = Pool(train, self.runtime), np.array(train.labels)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update on the evidence lower bound (Kingma & Welling 2014, eq. 10)."""
        real, labels = self.local_batch(images, labels)
        with self.runtime.autocast():
            posterior = self.net.encode(self._with_noise(real), labels)
            z = posterior.mean + (0.5 * posterior.log_variance).exp() * self.normal(posterior.mean)
            rebuilt = self.net(z, labels)
        error = F.mse_loss(rebuilt.float(), real)
        divergence = self._divergence(posterior)
        # With the variance at its optimum s = error, the pixels' log-likelihood has this gradient (see the module).
        variance = parallel.total(error.detach()) / parallel.size()
        pixels = real[0].numel()
        self.update("g", 0.5 * error / variance.clamp(min=1e-8) + self.config.beta * divergence / pixels)
        self.finish_step(len(real))
        return {"loss_reconstruction": error.detach(), "loss_kl": divergence.detach()}

    def _with_noise(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.config.denoise * self.normal(x) if self.config.denoise else x

    def _divergence(self, posterior: Posterior) -> torch.Tensor:
        """KL divergence of an image in nats, mean of the global batch; each dimension at least `free_bits`."""
        n = parallel.global_count(len(posterior.mean))
        by_dimension = parallel.total(kl_divergence(posterior).sum(0)) / n
        return by_dimension.clamp(min=self.config.free_bits).sum() if self.config.free_bits else by_dimension.sum()

    @torch.no_grad()
    def encode(self, rows: torch.Tensor) -> Posterior:
        """Rows of train, int64 (N,) → moments of their latents by the averaged weights, on the CPU."""
        if self._pool is None:
            raise RuntimeError("cvae needs its training set: call prepare(train) first")
        moments, net = [], cast(CVAENet, self.ema.module)
        for chunk in rows.split(SAMPLE_BATCH):
            labels = torch.from_numpy(self._labels[chunk.numpy()]).to(self.runtime.device)
            with self.runtime.autocast():
                moments.append(net.encode(to_float(self.runtime.move(self._pool.gather(chunk))), labels))
        return Posterior(*(torch.cat(parts).cpu() for parts in zip(*moments, strict=True)))


class ClassCVAE(CVAE):
    """A CVAE whose latents are drawn from the normal distribution that fits the encodings of the class.

    That is the class's aggregate posterior, the mixture of its images' posteriors, with its mean and its covariance.
    """

    latent_law = ""  # the normal distribution of each class

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.gaussians = ClassGaussians(len(problem.classes), config.latent)
        self._fitted = False  # whether `gaussians` are those of the averaged weights

    def finish_step(self, n: int) -> None:
        """See `NetworkGenerator`."""
        super().finish_step(n)
        self._fitted = False

    def prepare(self, train: ImageSet) -> None:
        """See `CVAE`."""
        super().prepare(train)
        self._fitted = False

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents of the classes, (N, latent), on the CPU."""
        self._fit()
        return self.gaussians.draw(labels, rng)

    def latent_means(self, labels: torch.Tensor) -> torch.Tensor:
        """See `LatentGenerator`."""
        self._fit()
        return self.gaussians.means[labels]

    def _fit(self) -> None:
        if self._fitted or self._pool is None:
            return
        for label in self.present.tolist():
            posterior = self.encode(torch.from_numpy(class_rows(self._labels, label, self._seed)))
            within = posterior.log_variance.double().exp().mean(0).numpy()
            self.gaussians.fit(label, posterior.mean.double().numpy(), within)
        self._fitted = True

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """See `NetworkGenerator`."""
        super().warm_start(state)
        self._fitted = False

    def extra_state(self) -> dict[str, Any]:
        """The distributions of the classes, fitted now if they are those of earlier weights."""
        self._fit()
        return {"means": self.gaussians.means.clone(), "factors": self.gaussians.factors.clone()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        self.gaussians.means, self.gaussians.factors = state["means"].clone(), state["factors"].clone()
        self._fitted = True


class BetweenCVAE(CVAE):
    """A CVAE whose latents lie between the encodings of two train images of the class."""

    not_truncated = "it interpolates between images of train, and draws no latents"

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self._interpolation: Interpolation | None = None

    def interpolation(self) -> Interpolation:
        """Encodings of the train images by the averaged weights, to draw points between."""
        if self._interpolation is None:
            self._interpolation = Interpolation(
                self._labels, lambda rows: self.encode(rows).mean, self.config.neighbours, self._seed
            )
        return self._interpolation

    def prepare(self, train: ImageSet) -> None:
        """See `CVAE`."""
        super().prepare(train)
        self._interpolation = None

    def finish_step(self, n: int) -> None:
        """See `NetworkGenerator`."""
        super().finish_step(n)
        self._interpolation = None

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """See `NetworkGenerator`."""
        super().warm_start(state)
        self._interpolation = None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self._interpolation = None

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The images of `derive`."""
        return self.derive(labels, rng).images

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Decode points between the encodings of two images of the class; the parent is the nearer image."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        for label in labels.unique().tolist():
            index = torch.nonzero(labels == label).squeeze(1)
            points, parents[index] = self.interpolation().draw(label, len(index), rng)
            images[index] = self.decode(points, labels[index])
        return Derived(images, parents)


VARIANTS: Final[Mapping[str, type[CVAE]]] = {"prior": CVAE, "class": ClassCVAE, "between": BetweenCVAE}


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> CVAE:
    """Build an untrained CVAE."""
    return VARIANTS[config.draw](config, problem, runtime, seed)
