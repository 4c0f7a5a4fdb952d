"""Adversarial losses by name: a critic's and a generator's, of scores (N,) of reals and fakes.

A new one is a class with a registry line. What else a configuration has to know of it is in `options`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch.nn import functional as F

from augpipe.core import distributed as parallel
from augpipe.core.registry import Registry
from augpipe.nn.losses import (
    Target,
    critic_wasserstein,
    discriminator_bce,
    discriminator_hinge,
    generator_bce,
    generator_score,
)


class AdversarialLoss(Protocol):
    """The two sides of a loss; both are minimised."""

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """Scores (N,), (M,) → the critic's loss. Targets count in the losses of `options.WITH_TARGETS` only."""

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Scores (N,), (M,) → the generator's loss; `real` counts in the losses of `options.RELATIVISTIC` only."""


losses: Registry[type[AdversarialLoss]] = Registry("loss")


@losses.register("nonsaturating")
class NonSaturating:
    """-E[log D(x)] - E[log(1 - D(G(z)))], and -E[log D(G(z))] for the generator (Goodfellow et al. 2014)."""

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """See the class."""
        return discriminator_bce(real, fake, real_target, fake_target)

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return generator_bce(fake)


@losses.register("hinge")
class Hinge:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], and -E[D(G(z))] for the generator (Lim & Ye 2017)."""

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """See the class."""
        return discriminator_hinge(real, fake)

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return generator_score(fake)


@losses.register("least_squares")
class LeastSquares:
    """½ E[(D(x) - 1)²] + ½ E[(D(G(z)) + 1)²], and ½ E[D(G(z))²] for the generator (Mao et al. 2017, eq. 8).

    Of the paper's two codings the one whose sign separates real from fake. A target t in [0, 1] is 2t - 1 here.
    """

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """See the class."""
        on_real, on_fake = real - (2 * real_target - 1), fake - (2 * fake_target - 1)
        return 0.5 * (on_real.square().mean() + on_fake.square().mean())

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return 0.5 * fake.square().mean()


@losses.register("wasserstein_gp")
class Wasserstein:
    """E[D(G(z))] - E[D(x)], and -E[D(G(z))] for the generator; the penalty is added by the family
    (Gulrajani et al. 2017, eq. 3).
    """

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """See the class."""
        return critic_wasserstein(real, fake)

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return generator_score(fake)


@losses.register("relativistic_average")
class RelativisticAverage:
    """E[softplus(-(D(x) - E D(G(z))))] + E[softplus(D(G(z)) - E D(x))], and the same with reals and fakes exchanged for
    the generator (Jolicoeur-Martineau 2019, section 4.2). The means are of the global batch.
    """

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """See the class."""
        mean_real, mean_fake = parallel.gather(real).mean(), parallel.gather(fake).mean()
        return F.softplus(mean_fake - real).mean() + F.softplus(fake - mean_real).mean()

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return RelativisticAverage.critic(fake, real, 1.0, 0.0)


@losses.register("relativistic_pairing")
class RelativisticPairing:
    """E[softplus(-(D(x) - D(G(z))))] over pairs, and the same with reals and fakes exchanged for the generator
    (Huang et al. 2024).

    The family draws a fake of the same class for each real image.
    """

    @staticmethod
    def critic(real: torch.Tensor, fake: torch.Tensor, real_target: Target, fake_target: Target) -> torch.Tensor:
        """See the class."""
        return F.softplus(fake - real).mean()

    @staticmethod
    def generator(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return F.softplus(real - fake).mean()
