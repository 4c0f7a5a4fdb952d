"""The Generator protocol: what the training loop asks of every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from pydantic import Field, model_validator

from augpipe.core.images import ImageSet, ImageSpec
from augpipe.core.schema import KindConfig


class GeneratorConfig(KindConfig):
    """What every family's configuration holds; the family adds its own.

    patience: training ends after so many ticks without a new best; null goes on to the budget's end.
    collapse: share of the real images' diversity below which a class counts as collapsed.
    together: images that a class is drawn for at a time. What looks at the variety within a class (the minibatch
    standard deviation: at four) finds none where a small batch is spread over many classes.
    per_class: one model a class. pretrain: thousands of images that a model of all classes together sees
    first; the classes with fewer than `pretrain_below` train images start from it.
    """

    # Whether images come from a trained model; a baseline that only interpolates says False.
    generative: ClassVar[bool] = True
    # Whether images are derived from single train images (`Deriving`): a logged model then needs them.
    derives: ClassVar[bool] = False

    kimg: float = Field(default=60.0, ge=0)  # budget, thousands of real images seen
    batch: int = Field(default=100, ge=2)  # real images a step
    ticks: int = Field(default=6, ge=1)  # validations and previews, evenly over the budget
    patience: int | None = Field(default=5, ge=1)
    collapse: float = Field(default=0.1, ge=0, lt=1)
    together: int = Field(default=1, ge=1, le=64)
    per_class: bool = False
    pretrain: float = Field(default=0.0, ge=0)
    pretrain_below: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _pretrains_parts(self) -> GeneratorConfig:
        if self.pretrain and not self.per_class:
            raise ValueError("pretrain starts models of single classes; it needs per_class: true")
        if self.per_class and not self.generative:
            raise ValueError(f"{self.kind} trains no model, so there is none to have per_class")
        return self


def drawn_together(
    classes: torch.Tensor, n: int, together: int, rng: torch.Generator
) -> torch.Tensor:
    """Labels (n,) drawn uniformly from `classes`, each for `together` items in a row."""
    at = torch.randint(0, len(classes), (-(-n // together),), generator=rng)
    return classes[at].repeat_interleave(together)[:n]


@dataclass(frozen=True)
class Problem:
    """What a generator is made for."""

    spec: ImageSpec
    classes: tuple[str, ...]


class Generator(Protocol):
    """A class-conditional generator: owns its networks, optimisers and phases; the loop owns the rest."""

    def prepare(self, train: ImageSet) -> None:
        """Look at train before the first step and before sampling from a loaded state."""

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """One update from uint8 (N,C,H,W) and int64 (N,); returns its losses as detached scalars."""

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """int64 (N,) → uint8 (N,C,H,W) on the CPU; a function of weights, labels and rng (on the CPU)."""

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply every learning rate by `factor`; nothing where none is trained."""

    def state_dict(self) -> dict[str, Any]:
        """All that a next step or sample depends on: tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""


class Derived(NamedTuple):
    """images uint8 (N,C,H,W); parents: row of the train image that each was made from, int64 (N,)."""

    images: torch.Tensor
    parents: torch.Tensor


@runtime_checkable
class Deriving(Protocol):
    """A generator whose images are made from single train images, and which says from which."""

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Like `sample`, with parents."""


@runtime_checkable
class WarmStarting(Protocol):
    """A generator that can begin with the nets of one like it."""

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Take over the nets of another's `state_dict`; optimisers and counts stay fresh."""
