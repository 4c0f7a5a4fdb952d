"""cvae: a class-conditional variational autoencoder (Kingma & Welling 2014; Sohn et al. 2015).

Encoder and decoder are residual networks, and both see the class. The decoder's distribution is normal with one
variance for all pixels, set to its optimum, the mean squared error of the batch (Rybkin et al. 2021, eq. 6): the
weights of reconstruction and KL divergence then need no tuning, and `beta: 1` is the evidence lower bound. Images are
the decoder's means, so they are smoother than real ones.

`adversarial: true` makes it a VAE-GAN (Larsen et al. 2016): images are compared in the features of a critic, which also
learns to tell reconstructions and images of the prior from real ones.

Latents are drawn from the prior, from the normal distribution that fits the encodings of the class's train images, or
between the encodings of two of them. In the last case the nearer image is the parent, and is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Pool, Runtime
from augpipe.core.images import ImageSet, to_float
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.interpolation import Interpolating, class_rows
from augpipe.generators.latents import SAMPLE_BATCH
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.blocks import doublings
from augpipe.nn.critics import ResidualCritic
from augpipe.nn.ema import EMA
from augpipe.nn.gaussians import ClassGaussians
from augpipe.nn.variational import Posterior, VariationalNet, kl_divergence


class Config(AdversarialConfig):
    """Options of cvae."""

    kind: Literal["cvae"]
    """A class-conditional variational autoencoder (Kingma & Welling 2014; Sohn et al. 2015)."""

    latent: int = Field(default=64, ge=1)
    """Dimension of a latent."""

    width: float = Field(default=24.0, gt=0, le=512)
    """Channels at full resolution; doubled with each halving of the resolution, up to four times that (the critic's:
    eight times)."""

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

    adversarial: bool = False
    """VAE-GAN (Larsen et al. 2016): a critic, in whose features images are compared, makes the images sharper."""

    adversarial_weight: float = Field(default=0.1, gt=0)
    """Weight of the adversarial loss in the decoder's updates (1 / gamma of the paper, algorithm 1)."""

    r1: float = Field(default=0.01, ge=0)
    """Weight gamma of the critic's R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 penalties (lazy regularisation, Karras et al. 2020)."""

    # Constants of the other families: here one option decides.
    @property
    def derives(self) -> bool:  # type: ignore[override]
        """See `GeneratorConfig`."""
        return self.draw == "between"

    @property
    def not_truncated(self) -> str:  # type: ignore[override]
        """See `GeneratorConfig`."""
        return "it interpolates between images of train, and draws no latents" if self.draw == "between" else ""

    @property
    def not_exported(self) -> str:  # type: ignore[override]
        """See `GeneratorConfig`."""
        reasons = {"class": "its latents depend on the class", "between": "its images are more than its network draws"}
        return reasons.get(self.draw, "")

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.draw != "between":
            yield "neighbours", f"with draw: {self.draw}"
        if not self.adversarial:
            of_the_critic = ("adversarial_weight", "augment", "ada", "r1", "r1_every")
            yield from ((name, "with adversarial: false") for name in of_the_critic)
        elif not self.r1:
            yield "r1_every", "with r1: 0"


class CVAE(Adversarial):
    """See the module docstring."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        spec, classes = problem.spec, len(problem.classes)
        net = VariationalNet(spec, classes, width=config.width, latent=config.latent)
        self.net = net
        self.add("generator", net)
        self.ema = EMA(net, config.ema_half_kimg)
        self.adam("g", net, config.learning_rate, (0.9, 0.999))
        self.d = ResidualCritic(spec, classes, width=config.width) if config.adversarial else None
        if self.d is not None:
            self.add("discriminator", self.d)
            self.adam("d", self.d, config.learning_rate, (0.0, 0.99))
        self._pool: Pool | None = None

    def prepare(self, train: ImageSet) -> None:
        """Store train, whose images are encoded."""
        super().prepare(train)
        self._pool, self._labels = Pool(train, self.runtime), np.array(train.labels)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update on the evidence lower bound (Kingma & Welling 2014, eq. 10), and one of the critic."""
        if self.d is not None:
            return self._adversarial_step(self.d, *self.in_class_order(images, labels))
        real, labels = self.local_batch(images, labels)
        with self.runtime.autocast():
            posterior, z = self._encoded(real, labels)
            rebuilt = self.net(z, labels)
        error, divergence = F.mse_loss(rebuilt.float(), real), self._divergence(posterior)
        self.update("g", self._bound(error, divergence, real[0].numel()))
        self.finish_step(len(real))
        return {"loss_reconstruction": error.detach(), "loss_kl": divergence.detach()}

    def _adversarial_step(self, d: ResidualCritic, real: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Update encoder and decoder, then the critic on the same fakes (Larsen et al. 2016, algorithm 1)."""
        with self.frozen("discriminator"):
            with self.runtime.autocast():
                posterior, z = self._encoded(real, labels)
                target, features = d.features(real), d.features(self.net(z, labels))
                # Only the decoder learns from the critic's verdict (section 2.3): a second pass, without the encoder.
                fakes = [self.net(latents, labels) for latents in (z.detach(), self.normal(z))]
                loss_g = losses.generator_bce(torch.cat([d(self.augment(fake), labels) for fake in fakes]))
            error, divergence = F.mse_loss(features.float(), target.float()), self._divergence(posterior)
            bound = self._bound(error, divergence, target[0].numel())
            self.update("g", bound + self.config.adversarial_weight * loss_g)
        loss_d = self._critic_loss(d, real, [fake.detach() for fake in fakes], labels)
        self.update("d", loss_d)
        self.finish_step(len(real))
        return {
            "loss_reconstruction": error.detach(),
            "loss_kl": divergence.detach(),
            "loss_g": loss_g.detach(),
            "loss_d": loss_d.detach(),
        }

    def _critic_loss(
        self, d: ResidualCritic, real: torch.Tensor, fakes: list[torch.Tensor], labels: torch.Tensor
    ) -> torch.Tensor:
        """Reals against reconstructions and images of the prior; all fakes count as much as all reals."""
        real = self.augment(real)
        with self.runtime.autocast():
            on_real = d(real, labels)
            on_fake = torch.cat([d(self.augment(fake), labels) for fake in fakes])
        self.observe(on_real)
        loss = losses.discriminator_bce(on_real, on_fake)
        return self.with_r1(loss, lambda x: d(x, labels), real, self.config.r1, self.config.r1_every)

    def _encoded(self, real: torch.Tensor, labels: torch.Tensor) -> tuple[Posterior, torch.Tensor]:
        """The posteriors of the images, with `denoise`, and a latent of each."""
        posterior = self.net.encode(self._with_noise(real), labels)
        return posterior, posterior.mean + (0.5 * posterior.log_variance).exp() * self.normal(posterior.mean)

    def _bound(self, error: torch.Tensor, divergence: torch.Tensor, values: int) -> torch.Tensor:
        """Negative evidence lower bound per value, of the mean squared error of `values` values an image.

        With the variance at its optimum, the error, the values' log-likelihood has this gradient (see the module).
        """
        variance = parallel.total(error.detach()) / parallel.size()
        return 0.5 * error / variance.clamp(min=1e-8) + self.config.beta * divergence / values

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
            raise RuntimeError("CVAE needs its training set: call prepare(train) first")
        moments, net = [], cast(VariationalNet, self.ema.module)
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


class BetweenCVAE(Interpolating, CVAE):
    """A CVAE whose latents lie between the encodings of two train images of the class."""

    @property
    def neighbours(self) -> int:
        """See `Interpolating`."""
        return self.config.neighbours

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """The means of the encodings; see `Interpolating`."""
        return self.encode(rows).mean


VARIANTS: Final[Mapping[str, type[CVAE]]] = {"prior": CVAE, "class": ClassCVAE, "between": BetweenCVAE}


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> CVAE:
    """Build an untrained CVAE."""
    return VARIANTS[config.draw](config, problem, runtime, seed)
