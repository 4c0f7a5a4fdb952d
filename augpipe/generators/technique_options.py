"""Training techniques as options of `cgan` and `dcgan`; what they do is in `techniques`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field, model_validator

from augpipe.core.errors import UserError
from augpipe.core.schema import Strict
from augpipe.generators.adversarial import AdversarialConfig
from augpipe.generators.protocol import Problem
from augpipe.nn.attention import attended_level
from augpipe.nn.blocks import doublings
from augpipe.nn.options import LOSSES, UNSIGNED, WITH_TARGETS, Loss


class Apa(Strict):
    """Adaptive pseudo augmentation (Jiang et al. 2021)."""

    target: float = Field(default=0.6, gt=-1, lt=1)
    """Target of E[sign D(real)]: above it, more of the reals are replaced by fakes."""

    kimg: float = Field(default=500.0, gt=0)
    """Thousands of real images over which the probability of a replacement can rise from 0 to 1; it ends at 0.8."""


class InfoGan(Strict):
    """Codes that the critic recovers from the image (InfoGAN, Chen et al. 2016)."""

    categories: int = Field(default=4, ge=0, le=1000)
    """Values of the categorical code; 0: no such code."""

    continuous: int = Field(default=0, ge=0, le=1000)
    """Continuous codes, N(0,1)."""

    categorical_weight: float = Field(default=1.0, ge=0)
    """Weight of the categorical code's cross-entropy in both losses."""

    continuous_weight: float = Field(default=0.1, ge=0)
    """Weight of the continuous codes' negative log-likelihood in both losses."""

    @model_validator(mode="after")
    def _check_codes(self) -> InfoGan:
        if self.categories == 1 or not (self.categories or self.continuous):
            raise ValueError(
                f"categories: {self.categories} with continuous: {self.continuous} is no code; "
                "set categories to 2 or more, or continuous to 1 or more"
            )
        return self


class TechniqueConfig(AdversarialConfig):
    """Training techniques; each is off by default."""

    # The loss if `loss` is null.
    default_loss: ClassVar[str] = "nonsaturating"

    loss: Loss | None = None
    """Adversarial loss: `nonsaturating` (Goodfellow et al. 2014), `hinge` (Lim & Ye 2017), `least_squares` (Mao et al.
    2017), `wasserstein_gp` (Gulrajani et al. 2017), `relativistic_average` (Jolicoeur-Martineau 2019) or
    `relativistic_pairing` (Huang et al. 2024). null: the family's usual one."""

    gradient_penalty: float = Field(default=10.0, ge=0)
    """Weight of the gradient penalty of `loss: wasserstein_gp`."""

    r1: float = Field(default=0.0, ge=0)
    """Weight gamma of the R1 penalty (Mescheder et al. 2018), applied every `r1_every` steps. 0: no penalty."""

    r2: float = Field(default=0.0, ge=0)
    """Weight gamma of the same penalty at fakes (R2), applied every `r1_every` steps. 0: no penalty."""

    r1_every: int = Field(default=16, ge=1)
    """Steps between R1 and R2 penalties (lazy regularisation, Karras et al. 2020)."""

    attention: int | None = Field(default=None, ge=4)
    """Resolution, in pixels of a side, of the feature maps with self-attention in both nets (SAGAN, Zhang et al. 2019).
    null: none."""

    orthogonal: bool = False
    """Initialise the weights of both nets with orthogonal matrices (Brock et al. 2019)."""

    latent_skips: bool = False
    """Split the latent: one part is the first layer's input, each other one modulates the norms of one of the
    generator's blocks, beside the class (BigGAN, Brock et al. 2019)."""

    virtual_batch_norm: int = Field(default=0, ge=0, le=4096)
    """Images of the reference batch of the generator's virtual batch norms (Salimans et al. 2016). 0: batch norms."""

    feature_matching: float = Field(default=0.0, ge=0)
    """Weight of the distance between the critic's mean features of reals and fakes in the generator's loss (Salimans et
    al. 2016)."""

    minibatch_discrimination: int = Field(default=0, ge=0, le=1024)
    """Kernels of minibatch discrimination in the critic (Salimans et al. 2016). 0: none."""

    historical_averaging: float = Field(default=0.0, ge=0)
    """Weight of the squared distance of both nets' weights from their mean over all updates (Salimans et al. 2016)."""

    label_noise: float = Field(default=0.0, ge=0, lt=0.5)
    """Noise of the critic's targets: those of reals are lowered, those of fakes raised by U(0, label_noise)."""

    label_flips: float = Field(default=0.0, ge=0, lt=0.5)
    """Fraction of the critic's images whose labels real and fake are exchanged."""

    lecam: float = Field(default=0.0, ge=0)
    """Weight of the LeCam regulariser, which draws the critic's scores of each side towards the mean of the other
    (Tseng et al. 2021)."""

    apa: Apa | None = None
    """Replace some of the critic's reals by fakes, with a probability set by a controller (Jiang et al. 2021). null:
    never."""

    replay: int = Field(default=0, ge=0, le=100_000)
    """Past fakes in a buffer that half of the critic's fakes come from (Shrivastava et al. 2017). 0: no buffer."""

    rotation: float = Field(default=0.0, ge=0)
    """Weight of the critic's auxiliary task, by how many quarter turns a real image was rotated (SS-GAN, Chen et al.
    2019)."""

    rotation_generator: float = Field(default=0.2, ge=0)
    """Weight of the same task on fakes in the generator's loss."""

    infogan: InfoGan | None = None
    """Codes, independent of the class, that the critic recovers from the image: a category is a kind of image within
    each class (Chen et al. 2016). null: none."""

    encoder: bool = False
    """Train an encoder of images to latents with the generator; the critic sees images with their latents (BiGAN,
    Donahue et al. 2017)."""

    @property
    def codes(self) -> int:
        """Latents that are codes, or that a category is the largest of."""
        return self.infogan.categories + self.infogan.continuous if self.infogan else 0

    @property
    def adversarial(self) -> str:
        """Name of the loss in use."""
        return self.loss or self.default_loss

    @property
    def generator_side(self) -> str:
        """Name of the loss whose side of the generator is in use."""
        return self.adversarial

    @property
    def signed(self) -> bool:
        """Whether a score above 0 means real."""
        return self.adversarial not in UNSIGNED

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not (self.r1 or self.r2):
            yield "r1_every", "with r1: 0 and r2: 0"
        if self.adversarial != "wasserstein_gp":
            yield "gradient_penalty", f"with loss: {self.adversarial}"
        if not self.rotation:
            yield "rotation_generator", "with rotation: 0"

    @model_validator(mode="after")
    def _check_techniques(self) -> TechniqueConfig:
        if self.label_noise and self.adversarial not in WITH_TARGETS:
            raise ValueError(
                f"label_noise is noise of targets, and loss: {self.adversarial} has none; "
                f"choose loss from {', '.join(WITH_TARGETS)}, or set label_noise: 0"
            )
        if self.apa and not self.signed:
            signed = ", ".join(name for name in LOSSES if name not in UNSIGNED)
            raise ValueError(
                f"apa needs a critic whose sign separates real from fake; with loss: {self.adversarial} only "
                f"differences of scores count, choose loss from {signed}, or set apa: null"
            )
        if self.codes >= self.latent:
            raise ValueError(f"infogan has {self.codes} codes, which take the place of latents; set latent above that")
        if self.infogan and self.replay:
            raise ValueError(f"replay: {self.replay} keeps images without their codes; with infogan set replay: 0")
        if self.encoder and (self.replay or self.adversarial == "wasserstein_gp"):
            other = f"replay: {self.replay}" if self.replay else f"loss: {self.adversarial}"
            raise ValueError(
                f"encoder: true needs the latent of each image, which {other} does not have; use one of them"
            )
        return self


def check_techniques(config: TechniqueConfig, problem: Problem) -> None:
    """UserError for an image size that is not 4, 5, 6 or 7 doubled, or that a technique does not fit."""
    _, blocks = doublings(problem.spec.size)
    if config.attention is not None:
        attended_level(config.attention, problem.spec.size)
    if config.latent_skips and config.latent <= blocks:
        raise UserError(
            f"latent_skips splits the latent into {blocks + 1} parts for images of {problem.spec.size} pixels; "
            f"latent is {config.latent}, set it to {blocks + 1} or more"
        )
