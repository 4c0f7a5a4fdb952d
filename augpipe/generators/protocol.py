"""The Generator protocol: what the training loop asks of every family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch

from augpipe.core.images import ImageSet, ImageSpec


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
