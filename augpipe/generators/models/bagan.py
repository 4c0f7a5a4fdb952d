"""BAGAN: a GAN that starts from an autoencoder of all classes (Mariani et al. 2018), and BAGAN-GP.

The paper's way: an autoencoder learns on every class; its encoder's convolutions become the
discriminator's, its decoder the generator; each class's latents are drawn from a Gaussian fitted to the
class's encodings; the discriminator has one softmax over the classes and FAKE. The covariance of a small
class is singular: Ledoit & Wolf's shrinkage mends that. `gradient_penalty: true` is BAGAN-GP (Huang &
Jafari 2021): a label embedding in the autoencoder, mean absolute error, a critic that is also shown real
images under a wrong label, and WGAN-GP. Unlike its public code, a wrong label is never the right one and
the critic does start from the encoder. Added for small classes: DiffAugment or ADA, lazy R1, an average of
the generator's weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.errors import UserError, several
from augpipe.core.images import ImageSet, to_float
from augpipe.core.seeds import numpy_stream
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.blocks import Dropout, doublings
from augpipe.nn.ema import EMA
from augpipe.nn.gaussians import ClassGaussians
from augpipe.nn.norms import minibatch_stddev
from augpipe.nn.penalties import gradient_penalty, r1

ENCODED_AT_ONCE = 256
HIDDEN = 128  # features between the trunk and the head, with `stddev`
MOST_ENCODED = 5000  # images a class that its Gaussian stands on


class Config(AdversarialConfig):
    """Options of BAGAN."""

    kind: Literal["bagan"]
    """BAGAN: a GAN that starts from an autoencoder of all classes (Mariani et al. 2018)."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    autoencoder: float = Field(default=0.25, gt=0, lt=1)
    """Fraction of the budget that trains the autoencoder."""

    labels: Literal["uniform", "rebalance"] = "uniform"
    """Classes of fakes: `uniform`, or `rebalance`, in proportion to max(0, 2/K - the class's fraction of train), as in
    the paper."""

    fakes: float | None = Field(default=1.0, gt=0)
    """Fakes per real image in the critic's batch. null: 1/K, the paper's."""

    generator_loss: Literal["class", "realness"] = "class"
    """`class`: the class against all else, as in the paper. `realness`: the class against FAKE, which keeps more
    variety."""

    class_weight: float = Field(default=0.0, ge=0)
    """With `realness`: weight of the added `class` loss."""

    gradient_penalty: bool = False
    """BAGAN-GP (Huang & Jafari 2021): Wasserstein critic with a gradient penalty."""

    label_embedding: bool | None = None
    """Multiply the decoder's latent by an embedding of the class, so that classes with overlapping latents stay apart.
    null: only with `gradient_penalty`."""

    stddev: bool = False
    """Show the critic how much the images of a class in the batch differ (minibatch standard deviation, Karras et al.
    2018)."""

    critic_steps: int = Field(default=5, ge=1)
    """With `gradient_penalty`: critic steps per generator step."""

    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout rate of the critic."""

    r1: float = Field(default=0.003, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps; not with
    `gradient_penalty`."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between two R1 penalties (lazy regularisation, Karras et al. 2020)."""

    width: float = Field(default=0.25, gt=0, le=16)
    """Multiple of the paper's channels."""

    learning_rate: float = Field(default=8e-4, gt=0)
    """Learning rate of Adam; the paper: 5e-5."""

    @property
    def signed(self) -> bool:
        """With the softmax, where the class stands against FAKE."""
        return not self.gradient_penalty

    @property
    def embeds(self) -> bool:
        """Whether the decoder is told the class."""
        return self.gradient_penalty if self.label_embedding is None else self.label_embedding


def _channels(config: Config, k: int) -> list[int]:
    """Of the trunk's levels, from the image down: a level has two convolutions of one width.

    The paper's level has two widths (32 and 64, 128 and 256).
    """
    paper = [64, 128, 256, 256, 256] if k <= 2 else [32, 64, 128, 256, 256]
    return [max(8, round(config.width * w)) for w in [*paper, *[256] * k][:k]]


class Trunk(nn.Module):
    """(N,C,H,W) in [-1,1] → features (N,F): a strided and a plain conv3 for each halving, without norms."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        layers: list[nn.Module] = []
        below = problem.spec.channels
        for width in _channels(config, k):
            layers += [nn.Conv2d(below, width, 3, 2, 1), nn.LeakyReLU(0.2), Dropout(config.dropout)]
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2), Dropout(config.dropout)]
            below = width
        self.layers = nn.Sequential(*layers)
        self.width = below * base**2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.layers(x).flatten(1)
        return out


class Decoder(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]; labels count with `label_embedding`."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        hidden = max(64, round(config.width * 1024))
        channels = _channels(config, k)[::-1]
        self.embedding = (
            nn.Embedding(len(problem.classes), config.latent) if config.embeds else None
        )
        self.first = nn.Linear(config.latent, hidden)
        self.second = nn.Linear(hidden, channels[0] * self.base**2)
        layers: list[nn.Module] = []
        for i, width in enumerate(channels):
            below = channels[max(0, i - 1)]
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(below, width, 5, 1, 2), nn.ReLU()]
        self.up = nn.Sequential(*layers)
        self.last = nn.Conv2d(channels[-1], problem.spec.channels, 3, 1, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if self.embedding is not None:
            z = z * self.embedding(labels)
        x = F.relu(self.second(F.relu(self.first(z))))
        x = self.up(x.view(len(z), -1, self.base, self.base))
        out: torch.Tensor = torch.tanh(self.last(x))
        return out


class Encoder(nn.Module):
    """(N,C,H,W) in [-1,1] → latent (N,Z)."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.trunk = Trunk(config, problem)
        self.last = nn.Linear(self.trunk.width, config.latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        out: torch.Tensor = self.last(self.trunk(x))
        return out


class Discriminator(nn.Module):
    """(N,C,H,W), labels (N,) → logits (N,K+1) over classes and FAKE; scores (N,) in BAGAN-GP. float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        classes = len(problem.classes)
        self.trunk = Trunk(config, problem)
        # How much is too little depends on the class: a head that is linear in it could not tell.
        self.mixed = nn.Linear(self.trunk.width + 1, HIDDEN) if config.stddev else None
        width = HIDDEN if config.stddev else self.trunk.width
        self.head = nn.Linear(width, 1 if config.gradient_penalty else classes + 1)
        self.embedding = nn.Embedding(classes, width) if config.gradient_penalty else None

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = self.trunk(x)
        if self.mixed is not None:
            h = F.leaky_relu(self.mixed(minibatch_stddev(h[:, :, None, None]).flatten(1)), 0.2)
        if self.embedding is None:
            out: torch.Tensor = self.head(h)
            return out.float()
        # Projection (Miyato & Koyama 2018); its scale is that of the head's own sum.
        likeness = (h * self.embedding(labels)).sum(1) / math.sqrt(h.shape[1])
        score: torch.Tensor = self.head(h).squeeze(1) + likeness
        return score.float()


class BAGAN(Adversarial):
    """See the module's head."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        encoder, d = Encoder(config, problem), Discriminator(config, problem)
        self.encoder, self.d = encoder, d
        self.add("encoder", encoder)
        self.g = self.add("generator", Decoder(config, problem))
        self.add("discriminator", d)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.gaussians = ClassGaussians(len(problem.classes), config.latent)
        self.ready = False  # the nets start as the autoencoder's, its encodings are fitted
        self._warm = False
        self._reset_optimisers()
        self._train: ImageSet | None = None
        self._fake_shares = torch.ones(len(problem.classes))

    def _reset_optimisers(self) -> None:
        """Fresh ones: the autoencoder's moments say nothing about the adversarial losses."""
        betas = (0.5, 0.9) if self.config.gradient_penalty else (0.5, 0.999)
        for name, net in (("e", self.encoder), ("g", self.g), ("d", self.d)):
            old = self.optimisers.get(name)
            rate = old.param_groups[0]["lr"] if old else self.config.learning_rate
            self.adam(name, net, rate, betas)

    def prepare(self, train: ImageSet) -> None:
        """Keep train, whose encodings are fitted after the autoencoder's phase."""
        super().prepare(train)
        self._train = train
        counts = torch.tensor(list(train.counts().values()), dtype=torch.float64)
        k, have = len(self.present), counts > 0
        if self.config.labels == "rebalance":
            share = (2 / k - counts / counts.sum()).clamp(min=0) * have
        else:
            share = have.double()
        self._fake_shares = share / share.sum()
        if not self.config.gradient_penalty:
            self.fakes(self.config.batch // parallel.size())  # told before any step

    def asked(self, n: int, rng: torch.Generator | None = None) -> torch.Tensor:
        """See `Adversarial`; as `labels` says."""
        n = parallel.everyone(n) if rng is None else n
        return torch.multinomial(
            self._fake_shares, n, replacement=True, generator=rng or self.rngs["noise"]
        )

    def _asked_in_order(self, n: int) -> torch.Tensor:
        """`asked`, by class where the critic compares the images of a class."""
        asked = self.asked(n)
        return asked.sort()[0] if self.config.stddev else asked

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Of each class's own Gaussian; N(0,1) before it is known."""
        if self.ready:
            return self.gaussians.draw(labels, rng)
        return super().latents(labels, rng)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """An update of the autoencoder in its share of the budget, then of the GAN."""
        due = self.seen >= self.config.autoencoder * self.config.kimg * 1000
        if not self.ready and (self._warm or due) and not self.initialise():
            return {
                "loss_autoencoder": torch.tensor(math.nan, device=self.runtime.device)
            }  # the loop sets it back
        # By class, where the critic compares the images of a class.
        ordered = self.ready and self.config.stddev
        real, labels = (self.in_class_order if ordered else self.own_part)(images, labels)
        told = self._adversarial(real, labels) if self.ready else self._autoencode(real, labels)
        self.stepped(len(real))
        return told

    def _autoencode(self, real: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        with self.runtime.autocast():
            back = self.g(self.encoder(real), labels).float()
        if self.config.gradient_penalty:
            loss = (back - real).abs().mean()
        else:
            loss = F.mse_loss(back, real)
        for name in ("e", "g"):
            self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        for name in ("e", "g"):
            self.share_gradients(name)
            self.optimisers[name].step()
        return {"loss_autoencoder": loss.detach()}

    def initialise(self) -> bool:
        """The step between the phases: copy the encoder's trunk, fit each class's Gaussian.

        The decoder is the generator already. After a warm start from a trained BAGAN the Gaussians alone
        are fitted. Whether it could: an autoencoder that diverged has nothing to fit.
        """
        if self._train is None:
            raise RuntimeError("BAGAN fits its latents to train: call prepare(train) first")
        self.encoder.eval()
        found = {label: self._encodings(self._train, label) for label in self.present.tolist()}
        self.encoder.train()
        if not parallel.agreed(all(np.isfinite(own).all() for own in found.values())):
            return False
        for label, encodings in found.items():
            self.gaussians.fit(label, encodings)
        if not self._warm:
            self.d.trunk.load_state_dict(self.encoder.trunk.state_dict())
        self._reset_optimisers()
        self.ready = True
        return True

    @torch.no_grad()
    def _encodings(self, train: ImageSet, label: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Latents of a class's images, float64 (N,Z); of MOST_ENCODED drawn ones where there are more."""
        rows = np.flatnonzero(train.labels == label)
        if len(rows) > MOST_ENCODED:
            rng = numpy_stream(self._seed, "encodings", label)
            rows = np.sort(rng.choice(rows, MOST_ENCODED, replace=False))
        found = []
        for start in range(0, len(rows), ENCODED_AT_ONCE):
            part = torch.from_numpy(train.images[rows[start : start + ENCODED_AT_ONCE]])
            with self.runtime.autocast():
                found.append(self.encoder(to_float(self.runtime.move(part))).float().cpu())
        return torch.cat(found).double().numpy()

    def _adversarial(self, real: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        loss_d = self._critic_loss(real, labels)
        self.update("d", loss_d)
        told = {"loss_d": loss_d.detach()}
        if self.config.gradient_penalty and self.steps % self.config.critic_steps:
            return told
        with self.frozen("discriminator"):
            with self.runtime.autocast():
                z, asked = self.noise(self._asked_in_order(len(real)))
                out = self.d(self.augmented(self.g(z, asked)), asked)
            if self.config.gradient_penalty:
                loss_g = losses.generator_score(out)
            elif self.config.generator_loss == "class":
                loss_g = losses.classification(out, asked)
            else:
                loss_g = losses.generator_bce(losses.realness(out, asked))
                if self.config.class_weight:
                    loss_g = loss_g + self.config.class_weight * losses.classification(out, asked)
            self.update("g", loss_g)
        return {**told, "loss_g": loss_g.detach()}

    def _critic_loss(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.config.gradient_penalty:
            return self._wasserstein(real, labels)
        n = self.fakes(len(real))
        real = self.augmented(real)
        with self.runtime.autocast():
            z, asked = self.noise(self._asked_in_order(n))
            with torch.no_grad():
                fake = self.g(z, asked)
            on_real = self.d(real, labels)
            on_fake = self.d(self.augmented(fake), asked)
        as_class, as_fake = losses.class_or_fake(on_real, labels, on_fake)
        loss = (len(real) * as_class + n * as_fake) / (len(real) + n)
        self.observe(losses.realness(on_real, labels))
        if self.config.r1 and self.steps % self.config.r1_every == 0:
            with self.runtime.autocast():
                penalty = r1(lambda x: losses.realness(self.d(x, labels), labels), real)
            loss = loss + self.config.r1 * self.config.r1_every * penalty
        return loss

    def fakes(self, reals: int) -> int:
        """How many fakes stand beside so many reals in the critic's batch, in each process."""
        reals, processes = parallel.everyone(reals), parallel.size()
        if self.config.fakes is None:
            n = -(-reals // len(self.present))
        else:
            n = max(1, round(self.config.fakes * reals))
        if n % processes:
            raise UserError(
                f"bagan draws {several(n, 'fake')} beside {reals} real images, and runner.devices, {processes}, must "
                f"divide them: set fakes to {processes * -(-n // processes) / reals:g}"
            )
        return n // processes

    def _wasserstein(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Fakes of the batch's own labels and reals under wrong ones, half each, against reals."""
        real = self.augmented(real)
        with self.runtime.autocast():
            whole = parallel.gather(labels)
            z, asked = self.noise(whole.cpu())
            with torch.no_grad():
                fake = self.augmented(self.g(z, asked))
            on_real, on_fake = self.d(real, labels), self.d(fake, asked)
            loss = losses.critic_wasserstein(on_real, on_fake)
            if len(self.present) > 1:
                on_wrong = self.d(real, parallel.own(self.wrong(whole)))
                loss = 0.5 * (loss + losses.critic_wasserstein(on_real, on_wrong))
            penalty = gradient_penalty(lambda x: self.d(x, labels), real, fake, self.rngs["device"])
        return loss + 10 * penalty

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Nets of a like BAGAN; if that was past its autoencoder, only the latents are fitted anew."""
        super().warm_start(state)
        self._warm = bool(state["more"]["ready"])

    def more_state(self) -> dict[str, Any]:
        """The phase, the Gaussians and the shares of fakes."""
        return {
            "ready": self.ready,
            "warm": self._warm,
            "means": self.gaussians.means,
            "factors": self.gaussians.factors,
            "fake_shares": self._fake_shares,
        }

    def load_more(self, state: Mapping[str, Any]) -> None:
        """See `more_state`."""
        self.ready, self._warm = state["ready"], state["warm"]
        self.gaussians.means = state["means"].clone()
        self.gaussians.factors = state["factors"].clone()
        self._fake_shares = state["fake_shares"].clone()


def check(config: Config, problem: Problem) -> None:
    """UserError for an image size that no stack of doublings reaches."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> BAGAN:
    """A fresh BAGAN."""
    return BAGAN(config, problem, runtime, seed)
