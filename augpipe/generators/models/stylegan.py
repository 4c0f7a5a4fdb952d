"""stylegan: a style-based GAN with the design of Karras et al. (2020), "StyleGAN2", in a small size.

A mapping network makes a style of the latent times a class embedding. It scales the channels of every convolution of
the generator, whose images are sums over resolutions (skip connections); noise is added to every layer. The critic is
residual, with minibatch standard deviation and a projection of the class. Training uses the non-saturating loss, lazy
R1 and, if requested, style mixing and the path-length penalty; both augmentations of the adversarial families apply.

Truncation moves the style towards the mean of the class, and the noise towards 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final, Literal, cast

import torch
from pydantic import Field
from torch import nn

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.images import to_uint8
from augpipe.generators.adversarial import Adversarial, AdversarialConfig
from augpipe.generators.latents import SAMPLE_BATCH
from augpipe.generators.protocol import Problem
from augpipe.nn import losses
from augpipe.nn.blocks import doublings, widths
from augpipe.nn.critics import ResidualCritic
from augpipe.nn.ema import EMA
from augpipe.nn.penalties import path_lengths, r1
from augpipe.nn.styles import StyledConv, StyleMapping, ToImage, mixed_styles, upsample

STYLE_DECAY: Final = 0.995  # of the mean style of a class, a step
PATH_DECAY: Final = 0.99  # of the mean path length, an update (Karras et al. 2020, section 3.2)


class Config(AdversarialConfig):
    """Options of stylegan."""

    not_exported: ClassVar[str] = "its images are more than its network draws"

    kind: Literal["stylegan"]
    """A style-based GAN (Karras et al. 2020)."""

    batch: int = Field(default=64, ge=2)
    """Real images per training step."""

    kimg: float = Field(default=300.0, ge=0)
    """Training budget, in thousands of real images shown."""

    latent: int = Field(default=64, ge=1)
    """Size of the latent vector, and of the style."""

    width: float = Field(default=16.0, gt=0, le=512)
    """Channels at full resolution; doubled with each halving of the resolution, up to eight times that."""

    mapping_layers: int = Field(default=2, ge=1, le=16)
    """Layers of the mapping network; the paper: 8."""

    style_mixing: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the generator's images in training whose later layers have another style; the paper: 0.9."""

    r1: float = Field(default=0.005, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 penalties (lazy regularisation, Karras et al. 2020)."""

    path_length: float = Field(default=0.0, ge=0)
    """Weight of the path-length penalty, applied every `path_length_every` steps; the paper: 2."""

    path_length_every: int = Field(default=4, ge=1)
    """Steps between path-length penalties."""

    learning_rate: float = Field(default=5e-3, gt=0)
    """Learning rate of Adam; the mapping network's is a hundredth of it."""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.r1:
            yield "r1_every", "with r1: 0"
        if not self.path_length:
            yield "path_length_every", "with path_length: 0"


class GeneratorNet(nn.Module):
    """Latents (N,Z), labels (N,) → (N,C,H,W), about [-1,1]; without noise."""

    style_means: torch.Tensor

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__()
        self.base, k = doublings(problem.spec.size)
        channels, latent = widths(config.width, k), config.latent
        self.mapping = StyleMapping(latent, len(problem.classes), config.mapping_layers)
        self.constant = nn.Parameter(torch.empty(1, channels[0], self.base, self.base))
        convs = [StyledConv(channels[0], channels[0], latent)]
        for a, b in pairwise(channels):
            convs += [StyledConv(a, b, latent, up=True), StyledConv(b, b, latent)]
        self.convs = nn.ModuleList(convs)
        self.to_image = nn.ModuleList(ToImage(c, problem.spec.channels, latent) for c in channels)
        # Layers with a style: the convolutions; an image layer shares that of the next one, the last has its own.
        self.layers = len(convs) + 1
        self.register_buffer("style_means", torch.zeros(len(problem.classes), latent))

    def draw_parameters(self, rng: torch.Generator) -> None:
        """The constant input, N(0,1)."""
        nn.init.normal_(self.constant, generator=rng)

    def noise_sides(self) -> list[int]:
        """Pixels of a side of each convolution's noise."""
        return [self.base * 2 ** ((at + 1) // 2) for at in range(len(self.convs))]

    def synthesise(self, styles: torch.Tensor, noise: Sequence[torch.Tensor] | None) -> torch.Tensor:
        """Styles (N,L,W), noise (N,1,h,h) of each convolution or None for none → (N,C,H,W)."""
        of_layer: Sequence[torch.Tensor | None] = noise or [None] * len(self.convs)
        x = self.convs[0](self.constant.expand(len(styles), -1, -1, -1), styles[:, 0], of_layer[0])
        image: torch.Tensor = self.to_image[0](x, styles[:, 1])
        for level in range(1, len(self.to_image)):
            at = 2 * level - 1
            for conv in (at, at + 1):
                x = self.convs[conv](x, styles[:, conv], of_layer[conv])
            image = upsample(image) + self.to_image[level](x, styles[:, at + 2])
        return image

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.synthesise(self.mapping(z, labels)[:, None].expand(-1, self.layers, -1), None)

    def truncated(self, z: torch.Tensor, labels: torch.Tensor, psi: float) -> torch.Tensor:
        """Styles of all layers (N,L,W), moved towards the mean of the class (Karras et al. 2019, appendix B)."""
        w: torch.Tensor = self.mapping(z, labels)
        if psi != 1:
            w = torch.lerp(self.style_means[labels], w, psi)
        return w[:, None].expand(-1, self.layers, -1)

    @torch.no_grad()
    def track(self, w: torch.Tensor, labels: torch.Tensor) -> None:
        """Move the mean style of each class in the global batch towards the mean of its styles w (N,W)."""
        w, labels = parallel.gather(w.detach()), parallel.gather(labels)
        members = nn.functional.one_hot(labels, len(self.style_means)).to(w).T  # (K,N)
        counts = members.sum(1, keepdim=True)
        means = members @ w / counts.clamp(min=1)
        self.style_means.lerp_(means, (1 - STYLE_DECAY) * (counts > 0).to(w))


class StyleGAN(Adversarial):
    """See the module docstring."""

    def __init__(self, config: Config, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self.config = config
        self.g = GeneratorNet(config, problem)
        self.d = ResidualCritic(problem.spec, len(problem.classes), width=config.width)
        self.add("generator", self.g)
        self.add("discriminator", self.d)
        self.ema = EMA(self.g, config.ema_half_kimg)
        self._lazy_adam("g", self.g, config.path_length_every if config.path_length else 0)
        self._lazy_adam("d", self.d, config.r1_every if config.r1 else 0)
        self.path_mean = torch.zeros((), device=runtime.device)

    def _lazy_adam(self, name: str, net: nn.Module, every: int) -> None:
        """Adam, corrected for one further update of a penalty every so many steps (Karras et al. 2020, appendix B)."""
        c = every / (every + 1) if every else 1.0
        self.adam(name, net, c * self.config.learning_rate, (0.0, 0.99**c))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do one critic update and one generator update, and those of the penalties that are due."""
        real, labels = self.in_class_order(images, labels)
        loss_d, on_real = self._critic_loss(real, labels)
        self.update("d", loss_d)
        metrics = {"loss_d": loss_d.detach(), "sign_real": on_real.sign().mean()}
        if self.config.r1 and self.steps % self.config.r1_every == 0:
            metrics["r1"] = self._penalise_gradients(real, labels)
        with self.frozen("discriminator"):
            loss_g = self._generator_loss(len(real))
            self.update("g", loss_g)
        metrics["loss_g"] = loss_g.detach()
        if self.config.path_length and self.steps % self.config.path_length_every == 0:
            metrics["path_length"] = self._penalise_paths(max(1, len(real) // 2))
        self.finish_step(len(real))
        return metrics

    def _noise(self, n: int) -> list[torch.Tensor]:
        """Noise of n images for each layer, as training draws it."""
        return [self.normal(torch.empty(n, 1, side, side)) for side in self.g.noise_sides()]

    def _fakes(self, n: int, *, learning: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """n images per process with noise and style mixing, and their labels; learning: move the mean styles."""
        drawn = self.draw_labels(n).sort()[0]
        z, labels = self.noise(drawn)
        w = self.g.mapping(z, labels)
        if learning:
            self.g.track(w, labels)
        other, crossover = w, torch.full((len(drawn),), self.g.layers)
        if self.config.style_mixing:
            other, rng = self.g.mapping(self.noise(drawn)[0], labels), self.rngs["noise"]
            mixed = torch.rand(len(drawn), generator=rng) < self.config.style_mixing
            crossover = torch.where(mixed, torch.randint(1, self.g.layers, (len(drawn),), generator=rng), crossover)
        crossover = parallel.local_rows(crossover).to(w.device)
        return self.g.synthesise(mixed_styles(w, other, self.g.layers, crossover), self._noise(n)), labels

    def _critic_loss(self, real: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        real = self.augment(real)
        with self.runtime.autocast():
            with torch.no_grad():
                fake, fake_labels = self._fakes(len(real), learning=False)
            on_real, on_fake = self.d(real, labels), self.d(self.augment(fake), fake_labels)
        self.observe(on_real)
        return losses.discriminator_bce(on_real, on_fake), on_real.detach()

    def _penalise_gradients(self, real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Update the critic on the R1 penalty alone, which it returns."""
        real = self.augment(real)
        with self.runtime.autocast():
            penalty = r1(lambda x: self.d(x, labels), real)
        self.update("d", self.config.r1 * self.config.r1_every * penalty)
        return penalty.detach()

    def _generator_loss(self, n: int) -> torch.Tensor:
        with self.runtime.autocast():
            fake, labels = self._fakes(n, learning=True)
            return losses.generator_bce(self.d(self.augment(fake), labels))

    def _penalise_paths(self, n: int) -> torch.Tensor:
        """Update the generator on the path-length penalty alone, of n images; return their mean path length."""
        with self.runtime.autocast():
            z, labels = self.noise(self.draw_labels(n))
            styles = self.g.mapping(z, labels)[:, None].repeat(1, self.g.layers, 1)
            images = self.g.synthesise(styles, self._noise(n))
            lengths = path_lengths(images, styles, self.normal(images))
        mean = parallel.total(lengths.detach().mean()) / parallel.size()
        self.path_mean = torch.lerp(mean, self.path_mean, PATH_DECAY)
        penalty = (lengths - self.path_mean).square().mean()
        self.update("g", self.config.path_length * self.config.path_length_every * penalty)
        return mean

    @torch.no_grad()
    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Sample the averaged generator with noise; truncation also scales the noise."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        for rows in torch.arange(len(labels)).split(SAMPLE_BATCH):
            z, sides = self.latents(labels[rows], rng), self.g.noise_sides()
            noise = [self.truncation * torch.randn(len(rows), 1, side, side, generator=rng) for side in sides]
            images[rows] = self._images(z, labels[rows], noise)
        return images

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Latents (N,Z), labels (N,) → images uint8 (N,C,H,W) without noise, on the CPU."""
        parts = zip(latents.split(SAMPLE_BATCH), labels.split(SAMPLE_BATCH), strict=True)
        return torch.cat([self._images(z, label, None) for z, label in parts])

    @property
    def not_shifted(self) -> str:
        """The styles of each class have a mean."""
        return ""

    @torch.no_grad()
    def shifted(self, latents: torch.Tensor, first: int, second: int, amount: float) -> torch.Tensor:
        """See `LatentGenerator`; by the means of the styles, since latents are drawn alike for all classes."""
        net, device = cast(GeneratorNet, self.ema.module), self.runtime.device
        labels = torch.full((len(latents),), first, device=device)
        with self.runtime.autocast():
            styles = net.mapping(latents.to(device), labels)
            styles = styles + amount * (net.style_means[second] - net.style_means[first])
            images = net.synthesise(styles[:, None].expand(-1, net.layers, -1), None)
        return to_uint8(images).cpu()

    def _images(self, z: torch.Tensor, labels: torch.Tensor, noise: Sequence[torch.Tensor] | None) -> torch.Tensor:
        net, device = cast(GeneratorNet, self.ema.module), self.runtime.device
        there = None if noise is None else [of_layer.to(device) for of_layer in noise]
        with self.runtime.autocast():
            styles = net.truncated(z.to(device), labels.to(device), self.truncation)
            images = net.synthesise(styles, there)
        return to_uint8(images).cpu()

    def extra_state(self) -> dict[str, Any]:
        """The mean path length."""
        return {"path_mean": self.path_mean}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        self.path_mean = state["path_mean"].to(self.runtime.device)


def check(config: Config, problem: Problem) -> None:
    """Raise UserError for an image size that is not 4, 5, 6 or 7 doubled."""
    doublings(problem.spec.size)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> StyleGAN:
    """Build an untrained style-based GAN."""
    return StyleGAN(config, problem, runtime, seed)
