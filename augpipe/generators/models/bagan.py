"""BAGAN: a GAN initialised from an autoencoder of all classes (Mariani et al. 2018), and BAGAN-GP.

As in the paper, an autoencoder is first trained on all classes. The convolutions of its encoder initialise the
discriminator, its decoder is the generator, and the latents of each class are drawn from a Gaussian fitted to the
class's encodings. The discriminator has one softmax over the classes and FAKE. The covariance of a small class is
singular, so it is estimated with Ledoit & Wolf's shrinkage. `gradient_penalty: true` is BAGAN-GP (Huang & Jafari
2021): a label embedding in the autoencoder, mean absolute error, a critic that also sees real images with wrong
labels, and WGAN-GP. Unlike in its public code, a wrong label is never the right one, and the critic is initialised
from the encoder. Added for small classes: DiffAugment or ADA, lazy R1, and an average of the generator's weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.errors import UserError, several
from augpipe.core.images import ImageSet, to_float
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.interpolation import class_rows
from augpipe.generators.latents import SAMPLE_BATCH
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.autoencoders import Decoder, Discriminator, Encoder
from augpipe.nn.blocks import doublings
from augpipe.nn.ema import EMA
from augpipe.nn.gaussians import ClassGaussians
from augpipe.nn.penalties import gradient_penalty


class Config(AdversarialConfig):
    """Options of BAGAN."""

    not_exported: ClassVar[str] = "its latents depend on the class"

    kind: Literal["bagan"]
    """BAGAN: a GAN initialised from an autoencoder of all classes (Mariani et al. 2018)."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    autoencoder: float = Field(default=0.25, gt=0, lt=1)
    """Fraction of the budget spent on the autoencoder."""

    labels: Literal["uniform", "rebalance"] = "uniform"
    """Class distribution of fakes: `uniform`, or `rebalance`, proportional to max(0, 2/K - the class's fraction of
    train) as in the paper."""

    fakes: float | None = Field(default=1.0, gt=0)
    """Fakes per real image in the critic's batch. null: 1/K, as in the paper."""

    generator_loss: Literal["class", "realness"] = "class"
    """`class`: the class against all other outputs, as in the paper. `realness`: the class against FAKE only, which
    keeps more diversity."""

    class_weight: float = Field(default=0.0, ge=0)
    """With `realness`: weight of the additional `class` loss."""

    gradient_penalty: bool = False
    """BAGAN-GP (Huang & Jafari 2021): Wasserstein critic with a gradient penalty."""

    label_embedding: bool | None = None
    """Multiply the decoder's latent by a class embedding, which separates classes with overlapping latents. null: only
    with `gradient_penalty`."""

    stddev: bool = False
    """Add the minibatch standard deviation within each class to the critic's features (Karras et al. 2018)."""

    critic_steps: int = Field(default=5, ge=1)
    """With `gradient_penalty`: critic steps per generator step."""

    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout rate of the critic."""

    r1: float = Field(default=0.003, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps; not with
    `gradient_penalty`."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 penalties (lazy regularisation, Karras et al. 2020)."""

    width: float = Field(default=0.25, gt=0, le=16)
    """Multiplier of the paper's channel counts."""

    learning_rate: float = Field(default=8e-4, gt=0)
    """Learning rate of Adam; the paper: 5e-5."""

    @property
    def signed(self) -> bool:
        """True with the softmax head, whose score is the class logit minus the FAKE logit."""
        return not self.gradient_penalty

    @property
    def embeds(self) -> bool:
        """Whether the decoder is conditioned on the class."""
        return self.gradient_penalty if self.label_embedding is None else self.label_embedding

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.gradient_penalty:
            for name in ("fakes", "generator_loss", "class_weight", "r1", "r1_every"):
                yield name, "with gradient_penalty: true"
        else:
            yield "critic_steps", "with gradient_penalty: false"
            if self.generator_loss == "class":
                yield "class_weight", "with generator_loss: class"
            if not self.r1:
                yield "r1_every", "with r1: 0"


class BAGAN(Adversarial):
    """See the module docstring."""

    latent_law = ""  # the Gaussian of each class

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        spec, classes, width, latent = problem.spec, len(problem.classes), config.width, config.latent
        self.encoder = Encoder(spec, width=width, latent=latent, dropout=config.dropout)
        decoder = Decoder(spec, width=width, latent=latent, classes=classes if config.embeds else None)
        self.d = Discriminator(
            spec, classes, width=width, dropout=config.dropout, stddev=config.stddev, critic=config.gradient_penalty
        )
        self.add("encoder", self.encoder)
        self.g = self.add("generator", decoder)
        self.add("discriminator", self.d)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.gaussians = ClassGaussians(len(problem.classes), config.latent)
        # True once the autoencoder is trained, its weights are copied and the Gaussians are fitted.
        self.ready = False
        self._warm = False
        self._reset_optimisers()
        self._train: ImageSet | None = None
        self._fake_probabilities = torch.ones(len(problem.classes))

    def _reset_optimisers(self) -> None:
        """Create fresh optimisers: the autoencoder's moments do not suit the adversarial losses."""
        betas = (0.5, 0.9) if self.config.gradient_penalty else (0.5, 0.999)
        for name, net in (("e", self.encoder), ("g", self.g), ("d", self.d)):
            old = self.optimisers.get(name)
            rate = old.param_groups[0]["lr"] if old else self.config.learning_rate
            self.adam(name, net, rate, betas)

    def prepare(self, train: ImageSet) -> None:
        """Store train, whose encodings are fitted after the autoencoder phase."""
        super().prepare(train)
        self._train = train
        counts = torch.tensor(list(train.counts().values()), dtype=torch.float64)
        k, nonempty = len(self.present), counts > 0
        if self.config.labels == "rebalance":
            weights = (2 / k - counts / counts.sum()).clamp(min=0) * nonempty
        else:
            weights = nonempty.double()
        self._fake_probabilities = weights / weights.sum()
        if not self.config.gradient_penalty:
            self.fakes(self.config.batch // parallel.size())  # raises before the first step

    def draw_labels(self, n: int, rng: torch.Generator | None = None) -> torch.Tensor:
        """See `Adversarial`; the class distribution is that of the option `labels`."""
        n = parallel.global_count(n) if rng is None else n
        return torch.multinomial(self._fake_probabilities, n, replacement=True, generator=rng or self.rngs["noise"])

    def _draw_ordered_labels(self, n: int) -> torch.Tensor:
        """`draw_labels`, sorted by class if the critic compares images within a class (`stddev`)."""
        labels = self.draw_labels(n)
        return labels.sort()[0] if self.config.stddev else labels

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw from the Gaussian of each label's class; from N(0,1) before these are fitted."""
        if self.ready:
            return self.gaussians.draw(labels, rng)
        return super().latents(labels, rng)

    def latent_means(self, labels: torch.Tensor) -> torch.Tensor:
        """The mean of each label's class."""
        return self.gaussians.means[labels]

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one update of the autoencoder, or of the GAN once the autoencoder's budget is spent."""
        due = self.seen >= self.config.autoencoder * self.config.kimg * 1000
        if not self.ready and (self._warm or due) and not self.initialise():
            return {
                "loss_autoencoder": torch.tensor(math.nan, device=self.runtime.device)
            }  # not finite: the loop restarts from the last good state
        # Sorted by class if the critic compares images within a class.
        ordered = self.ready and self.config.stddev
        real, labels = (self.in_class_order if ordered else self.local_batch)(images, labels)
        metrics = self._adversarial(real, labels) if self.ready else self._autoencode(real, labels)
        self.finish_step(len(real))
        return metrics

    def _autoencode(self, real: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        with self.runtime.autocast():
            reconstruction = self.g(self.encoder(real), labels).float()
        if self.config.gradient_penalty:
            loss = (reconstruction - real).abs().mean()
        else:
            loss = F.mse_loss(reconstruction, real)
        for name in ("e", "g"):
            self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        for name in ("e", "g"):
            self.average_gradients(name)
            self.optimisers[name].step()
        return {"loss_autoencoder": loss.detach()}

    def initialise(self) -> bool:
        """Switch from autoencoder to GAN: copy the encoder's trunk to the critic, fit each class's Gaussian.

        The decoder already is the generator. After a warm start from a trained BAGAN only the Gaussians are
        fitted. Returns False if the autoencoder diverged, so that its encodings are not finite.
        """
        if self._train is None:
            raise RuntimeError("BAGAN needs its training set: call prepare(train) first")
        self.encoder.eval()
        encodings = {label: self._encodings(self._train, label) for label in self.present.tolist()}
        self.encoder.train()
        if not parallel.agreed(all(np.isfinite(codes).all() for codes in encodings.values())):
            return False
        for label, codes in encodings.items():
            self.gaussians.fit(label, codes)
        if not self._warm:
            self.d.trunk.load_state_dict(self.encoder.trunk.state_dict())
        self._reset_optimisers()
        self.ready = True
        return True

    @torch.no_grad()
    def _encodings(self, train: ImageSet, label: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Encode a class's images, float64 (N,Z); at most `interpolation.MAX_ENCODED` of them."""
        chunks = []
        for chunk in torch.from_numpy(class_rows(train.labels, label, self._seed)).split(SAMPLE_BATCH):
            images = torch.from_numpy(train.images[chunk.numpy()])
            with self.runtime.autocast():
                chunks.append(self.encoder(to_float(self.runtime.move(images))).float().cpu())
        return torch.cat(chunks).double().numpy()

    def _adversarial(self, real: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        loss_d = self._critic_loss(real, labels)
        self.update("d", loss_d)
        metrics = {"loss_d": loss_d.detach()}
        if self.config.gradient_penalty and self.steps % self.config.critic_steps:
            return metrics
        with self.frozen("discriminator"):
            with self.runtime.autocast():
                z, fake_labels = self.noise(self._draw_ordered_labels(len(real)))
                out = self.d(self.augment(self.g(z, fake_labels)), fake_labels)
            if self.config.gradient_penalty:
                loss_g = losses.generator_score(out)
            elif self.config.generator_loss == "class":
                loss_g = losses.classification(out, fake_labels)
            else:
                loss_g = losses.generator_bce(losses.realness(out, fake_labels))
                if self.config.class_weight:
                    loss_g = loss_g + self.config.class_weight * losses.classification(out, fake_labels)
            self.update("g", loss_g)
        return {**metrics, "loss_g": loss_g.detach()}

    def _critic_loss(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.config.gradient_penalty:
            return self._wasserstein(real, labels)
        n = self.fakes(len(real))
        real = self.augment(real)
        with self.runtime.autocast():
            z, fake_labels = self.noise(self._draw_ordered_labels(n))
            with torch.no_grad():
                fake = self.g(z, fake_labels)
            on_real = self.d(real, labels)
            on_fake = self.d(self.augment(fake), fake_labels)
        as_class, as_fake = losses.class_or_fake(on_real, labels, on_fake)
        loss = (len(real) * as_class + n * as_fake) / (len(real) + n)
        self.observe(losses.realness(on_real, labels))

        def critic(x: torch.Tensor) -> torch.Tensor:
            return losses.realness(self.d(x, labels), labels)

        return self.with_r1(loss, critic, real, self.config.r1, self.config.r1_every)

    def fakes(self, reals: int) -> int:
        """Number of fakes for `reals` real images in the critic's batch, per process."""
        reals, processes = parallel.global_count(reals), parallel.size()
        n = -(-reals // len(self.present)) if self.config.fakes is None else max(1, round(self.config.fakes * reals))
        if n % processes:
            raise UserError(
                f"bagan draws {several(n, 'fake')} for {reals} real images, which runner.devices: {processes} does not "
                f"divide; set fakes: {processes * -(-n // processes) / reals:g}"
            )
        return n // processes

    def _wasserstein(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """BAGAN-GP: reals against fakes with the same labels and reals with wrong labels, half each."""
        real = self.augment(real)
        with self.runtime.autocast():
            global_labels = parallel.gather(labels)
            z, fake_labels = self.noise(global_labels.cpu())
            with torch.no_grad():
                fake = self.augment(self.g(z, fake_labels))
            on_real, on_fake = self.d(real, labels), self.d(fake, fake_labels)
            loss = losses.critic_wasserstein(on_real, on_fake)
            if len(self.present) > 1:
                on_wrong = self.d(real, parallel.local_rows(self.wrong(global_labels)))
                loss = 0.5 * (loss + losses.critic_wasserstein(on_real, on_wrong))
            penalty = gradient_penalty(lambda x: self.d(x, labels), real, fake, self.rngs["device"])
        return loss + 10 * penalty

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Load the nets of another BAGAN; if its autoencoder was trained, only the Gaussians are refitted."""
        super().warm_start(state)
        self._warm = bool(state["more"]["ready"])

    def extra_state(self) -> dict[str, Any]:
        """The phase, the Gaussians and the class probabilities of fakes."""
        return {
            "ready": self.ready,
            "warm": self._warm,
            "means": self.gaussians.means,
            "factors": self.gaussians.factors,
            "fake_shares": self._fake_probabilities,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore `extra_state`."""
        self.ready, self._warm = state["ready"], state["warm"]
        self.gaussians.means = state["means"].clone()
        self.gaussians.factors = state["factors"].clone()
        self._fake_probabilities = state["fake_shares"].clone()


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> BAGAN:
    """Build an untrained BAGAN."""
    return BAGAN(config, problem, runtime, seed)
