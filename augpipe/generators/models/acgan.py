"""ACGAN: a GAN whose discriminator also classifies (Odena, Olah & Shlens 2017).

The architecture is that of the paper's appendix A for 32x32, with fewer or more levels for other sizes. As in
the public MNIST implementations, the latent is multiplied by a label embedding, labels of fakes are drawn
uniformly, the discriminator's class loss uses real images only, and the generator's batch is twice the
discriminator's. Added for small classes: DiffAugment or ADA in both updates, and an average of the generator's
weights with recomputed batch statistics. Options: hinge loss, spectral norm, class-conditional batch norm, lazy
R1, and ReACGAN's data-to-data cross-entropy instead of the class head (Kang et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.blocks import Dropout, doublings
from augpipe.nn.ema import EMA
from augpipe.nn.norms import ConditionalBatchNorm2d


class Config(AdversarialConfig):
    """Options of ACGAN."""

    kind: Literal["acgan"]
    """ACGAN: the discriminator also classifies (Odena et al. 2017)."""

    width: float = Field(default=1.0, gt=0, le=16)
    """Multiplier of the paper's channel counts."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout rate of the discriminator."""

    loss: Literal["bce", "hinge"] = "bce"
    """Real/fake loss: `bce` as in the paper, or `hinge`."""

    real_target: float = Field(default=0.9, gt=0.5, le=1)
    """Discriminator's target for reals with `loss: bce` (one-sided label smoothing, Salimans et al. 2016)."""

    class_loss: Literal["head", "d2d"] = "head"
    """`head`: the paper's classifier. `d2d`: data-to-data cross-entropy on a normalised embedding (ReACGAN, Kang et al.
    2021)."""

    class_weight: float = Field(default=1.0, ge=0)
    """Weight of the class loss relative to the real/fake loss."""

    embedding: int = Field(default=512, ge=2)
    """Dimension of the `d2d` embedding."""

    margin: float = Field(default=0.98, gt=0, le=1)
    """`d2d` ignores positive pairs with a cosine similarity of at least this."""

    temperature: float = Field(default=0.5, gt=0)
    """Temperature of `d2d`."""

    spectral: bool = False
    """Spectral norm in the discriminator instead of batch norm (Miyato et al. 2018)."""

    conditional_norm: bool = False
    """Give the generator's batch norms a gain and bias per class (Dumoulin et al. 2017)."""

    r1: float = Field(default=0.0, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps. 0: no penalty."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 penalties (lazy regularisation, Karras et al. 2020)."""

    @model_validator(mode="after")
    def _check_real_target(self) -> Config:
        if self.loss == "hinge" and self.real_target != type(self).model_fields["real_target"].default:
            raise ValueError("real_target applies to loss: bce only; leave it out with loss: hinge")
        return self

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.class_loss != "d2d":
            for name in ("embedding", "margin", "temperature"):
                yield name, f"with class_loss: {self.class_loss}"
        if not self.r1:
            yield "r1_every", "with r1: 0"


class _Norm(nn.Module):
    """Batch norm, optionally with a gain and bias per class."""

    def __init__(self, width: int, classes: int, conditional: bool) -> None:
        super().__init__()
        self.conditional = conditional
        self.norm: nn.Module = ConditionalBatchNorm2d(width, classes) if conditional else nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(x, labels) if self.conditional else self.norm(x)
        return out


class GeneratorNet(nn.Module):
    """latent (N,Z), labels (N,) → (N,C,H,W) in [-1,1]."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        widths = [max(8, round(config.width * 384 / 2**level)) for level in range(k)]
        classes, conditional = len(problem.classes), config.conditional_norm
        self.embedding = nn.Embedding(classes, config.latent)
        self.first = nn.Linear(config.latent, widths[0] * self.base**2)
        self.norms = nn.ModuleList(_Norm(w, classes, conditional) for w in widths)
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.last = nn.ConvTranspose2d(widths[-1], problem.spec.channels, 4, 2, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.first(z * self.embedding(labels))
        x = x.unflatten(1, (-1, self.base, self.base))
        x = F.relu(self.norms[0](x, labels))
        for up, norm in zip(self.up, list(self.norms)[1:], strict=True):
            x = F.relu(norm(up(x), labels))
        out: torch.Tensor = torch.tanh(self.last(x))
        return out


class DiscriminatorNet(nn.Module):
    """(N,C,H,W) in [-1,1] → logits real/fake (N,) and class logits (N,K) or embeddings (N,E), float32."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        base, k = doublings(problem.spec.size)
        # The paper has six widths for three halvings; smaller sizes use the last ones, larger ones prepend 16.
        paper = [16] * max(0, 2 * k - 6) + [16, 32, 64, 128, 256, 512]
        widths = [max(8, round(config.width * w)) for w in paper[-2 * k :]]
        layers: list[nn.Module] = []
        below = problem.spec.channels
        for level, width in enumerate(widths):
            layers.append(nn.Conv2d(below, width, 3, 2 - level % 2, 1))
            if level and not config.spectral:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.LeakyReLU(0.2), Dropout(config.dropout)]
            below = width
        self.trunk = nn.Sequential(*layers)
        classes, flat = len(problem.classes), below * base**2
        self.real = nn.Linear(flat, 1)
        d2d = config.class_loss == "d2d"
        self.classes = nn.Linear(flat, config.embedding if d2d else classes)
        self.proxies = nn.Embedding(classes, config.embedding) if d2d else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        h = self.trunk(x).flatten(1)
        return self.real(h).squeeze(1).float(), self.classes(h).float()

    def class_logits(self, class_output: torch.Tensor) -> torch.Tensor:
        """Class logits (N,K): the head's output, or the cosine of the embedding to each class's proxy."""
        if self.proxies is None:
            return class_output
        return F.normalize(class_output, dim=1) @ F.normalize(self.proxies.weight, dim=1).T


class ACGAN(Adversarial):
    """See the module docstring."""

    latent_law = "U(-1,1)"

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = self.add("generator", GeneratorNet(config, problem), "dcgan")
        d = DiscriminatorNet(config, problem)
        self.d = d
        self.add("discriminator", d, "dcgan", spectral=config.spectral)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self.adam("g", self.g, config.learning_rate, (0.5, 0.999))
        self.adam("d", self.d, config.learning_rate, (0.5, 0.999))

    def latents(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Draw latents U(-1,1), (N, latent)."""
        return torch.rand(len(labels), self.config.latent, generator=rng) * 2 - 1

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one discriminator update, and one generator update on a batch of twice the size."""
        real, labels = self.local_batch(images, labels)
        loss_d, accuracy = self._discriminator_loss(real, labels)
        self.update("d", loss_d)
        with self.frozen("discriminator"):
            loss_g = self._generator_loss(2 * len(real))
            self.update("g", loss_g)
        self.finish_step(len(real))
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach(), "class_accuracy_real": accuracy}

    def _class_loss(self, class_output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.d.proxies is None:
            return losses.classification(class_output, labels)
        return losses.data_to_data(  # over all pairs of the global batch
            parallel.gather(class_output),
            self.d.proxies.weight,
            parallel.gather(labels),
            margin=self.config.margin,
            temperature=self.config.temperature,
        )

    def _discriminator_loss(self, real: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        real = self.augment(real)
        with self.runtime.autocast():
            with torch.no_grad():
                fake = self.g(*self.noise(self.draw_labels(len(real))))
            on_real, class_output = self.d(real)
            on_fake, _ = self.d(self.augment(fake))
        if self.config.loss == "hinge":
            loss = losses.discriminator_hinge(on_real, on_fake)
        else:
            loss = losses.discriminator_bce(on_real, on_fake, self.config.real_target)
        loss = loss + self.config.class_weight * self._class_loss(class_output, labels)
        loss = self.with_r1(loss, lambda x: self.d(x)[0], real, self.config.r1, self.config.r1_every)
        self.observe(on_real)
        return loss, (self.d.class_logits(class_output).argmax(1) == labels).float().mean()

    def _generator_loss(self, n: int) -> torch.Tensor:
        with self.runtime.autocast():
            z, fake_labels = self.noise(self.draw_labels(n))
            on_fake, class_output = self.d(self.augment(self.g(z, fake_labels)))
        loss = losses.generator_score(on_fake) if self.config.loss == "hinge" else losses.generator_bce(on_fake)
        return loss + self.config.class_weight * self._class_loss(class_output, fake_labels)


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> ACGAN:
    """Build an untrained ACGAN."""
    return ACGAN(config, problem, runtime, seed)
