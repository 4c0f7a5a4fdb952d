"""Base class of the adversarial families: augmentation of reals and fakes, and penalties of the discriminator.

A family adds its nets and optimisers and implements `step`. Nothing here depends on a family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field, model_validator

from augpipe.core import distributed as parallel
from augpipe.core.device import Runtime
from augpipe.core.schema import Strict
from augpipe.generators.latents import LatentConfig, LatentGenerator
from augpipe.generators.protocol import Problem
from augpipe.nn.augment import Adaptive, diff_augment
from augpipe.nn.options import Operations
from augpipe.nn.penalties import Critic, r1


class Ada(Strict):
    """Adaptive discriminator augmentation (Karras et al. 2020)."""

    target: float = Field(default=0.6, gt=-1, lt=1)
    """Target of E[sign D(real)]: above it, images are augmented more often."""

    kimg: float = Field(default=500.0, gt=0)
    """Thousands of real images over which the augmentation probability can rise from 0 to 1."""


class AdversarialConfig(LatentConfig):
    """Options of all adversarial families."""

    augment: Operations = ("translation", "cutout")
    """Differentiable augmentations of reals and fakes, in the updates of both nets (DiffAugment, Zhao et al. 2020):
    brightness, saturation, contrast, translation, cutout, rotation, scale, affine, flip."""

    ada: Ada | None = None
    """Apply each operation with the probability set by ADA's controller. null: always (DiffAugment)."""

    @property
    def signed(self) -> bool:
        """Whether a score above 0 means real; False if only differences of scores count, as for a
        Wasserstein critic."""
        return True

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if not self.augment:
            yield "ada", "with augment: []"

    @model_validator(mode="after")
    def _ada_needs_a_sign(self) -> AdversarialConfig:
        if self.ada and not self.signed:
            raise ValueError(
                f"ada needs a critic whose sign separates real from fake; only differences of the scores of this "
                f"{self.kind}'s critic count, set ada: null"
            )
        return self


class Adversarial(LatentGenerator):
    """A generator with a discriminator: a family adds the nets `generator` and `discriminator`."""

    def __init__(self, config: AdversarialConfig, problem: Problem, runtime: Runtime, seed: int) -> None:
        super().__init__(config, problem, runtime, seed)
        self._augment = config.augment
        self.adaptive = Adaptive(config.ada.kimg, config.ada.target) if config.ada else None

    def augment(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the configured augmentations to float (N,C,H,W), independently per image."""
        p = self.adaptive.p if self.adaptive else 1.0
        x = x.float()
        return diff_augment(x, self._augment, self.rngs["device"], p) if p > 0 else x

    def with_r1(self, loss: torch.Tensor, critic: Critic, real: torch.Tensor, gamma: float, every: int) -> torch.Tensor:
        """The critic's loss plus gamma times R1, applied lazily:
        in every `every`-th step, with `every` times the weight.
        """
        if not gamma or self.steps % every:
            return loss
        with self.runtime.autocast():
            penalty = r1(critic, real)
        return loss + gamma * every * penalty

    def observe(self, real: torch.Tensor) -> None:
        """Report scores of reals (N,) to the ADA controller, if there is one."""
        if self.adaptive:
            self.adaptive.observe(parallel.gather(real.detach()))

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Disable weight gradients of a net while the other net is updated through it."""
        self.nets[name].requires_grad_(False)
        yield
        self.nets[name].requires_grad_(True)

    def wrong(self, labels: torch.Tensor) -> torch.Tensor:
        """Draw for each label a different one, uniform over classes with train images; needs two classes."""
        k = len(self.present)
        index = torch.searchsorted(self.present, labels.cpu())
        shift = torch.randint(1, k, (len(labels),), generator=self.rngs["noise"])
        return self.present[(index + shift) % k].to(labels.device)

    def state_dict(self) -> dict[str, Any]:
        """The state of `NetworkGenerator`, and ADA's."""
        return {**super().state_dict(), "ada": self.adaptive.state_dict() if self.adaptive else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        if self.adaptive:
            self.adaptive.load_state_dict(state["ada"])
