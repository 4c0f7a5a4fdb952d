"""The Generator protocol: what the training loop requires of every family."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from augpipe.core.image_spec import ImageSpec

if TYPE_CHECKING:  # records name what a generator is built for, and are read without torch
    import torch

    from augpipe.core.images import ImageSet


@dataclass(frozen=True)
class Problem:
    """What a generator is built for: image size and channels, and the class names."""

    spec: ImageSpec
    classes: tuple[str, ...]


class Generator(Protocol):
    """A class-conditional generator. It owns networks, optimisers and phases; `fit` owns everything else."""

    def prepare(self, train: ImageSet) -> None:
        """Read what is needed from train; called before the first step and before sampling from a loaded state."""

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Do one update on images uint8 (N,C,H,W), labels int64 (N,); return losses as detached scalars by name."""

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Labels int64 (N,) → images uint8 (N,C,H,W) on the CPU; depends on weights, labels and rng (CPU) only."""

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply every learning rate by `factor`; a no-op if nothing is trained."""

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step or sample depends on, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Derived(NamedTuple):
    """images: uint8 (N,C,H,W); parents: int64 (N,), row of the train image that each was derived from."""

    images: torch.Tensor
    parents: torch.Tensor


@runtime_checkable
class Deriving(Protocol):
    """A generator that derives each image from one train image and reports which."""

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Like `sample`, but also return the parents."""


@runtime_checkable
class Finite(Protocol):
    """A generator that has a limited number of images, each of which is drawn once.

    `sample` raises UserError for more images of a class than there are.
    """

    @property
    def available(self) -> Mapping[int, int]:
        """Number of images of each class, zeros included."""

    def without_replacement(self, rng: torch.Generator) -> Generator:
        """The same generator for several calls of `sample`, which draw no image twice; rng: for their order."""


@runtime_checkable
class WarmStarting(Protocol):
    """A generator that can start from the nets of another of its family."""

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """Load the nets of another generator's `state_dict`; optimisers and counts stay fresh."""


@runtime_checkable
class Latent(Protocol):
    """A generator whose images are decoded from points of a latent space, which can be explored.

    The attributes say why something cannot be done, "" if it can: not_decoded: images from latents and labels alone;
    not_truncated: `set_truncation`; not_blended: `blended`; not_shifted: `shifted`.
    """

    not_decoded: ClassVar[str]
    not_truncated: ClassVar[str]

    @property
    def not_blended(self) -> str:
        """See the class."""

    @property
    def not_shifted(self) -> str:
        """See the class."""

    def averaged(self) -> torch.nn.Module:
        """The net that images are drawn with, ready to do so."""

    def set_truncation(self, psi: float) -> None:
        """Move the latents of later samples towards their means."""

    def points(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Labels (N,) → points of these classes (N,Z), as `sample` decodes them."""

    def decode(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Points (N,Z), labels (N,) → images uint8 (N,C,H,W) on the CPU."""

    def walk(self, first: torch.Tensor, second: torch.Tensor, label: int, amount: float) -> torch.Tensor:
        """Points (N,Z) between two points of a class, at `amount` in [0,1]."""

    def blended(self, first: int, second: int, amount: float) -> AbstractContextManager[None]:
        """While the block lasts, the label `first` means a class between two, at `amount` in [0,1]."""

    def shifted(self, latents: torch.Tensor, first: int, second: int, amount: float) -> torch.Tensor:
        """Images of points of the class `first`, moved by a part of the difference of the classes' means."""
