"""The Generator protocol and the resolver; then one file a family.

A family's file has `Config(GeneratorConfig)`, `build(config, problem, runtime, seed) -> Generator` and,
where it cannot make every kind of image, `check(config, problem)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from pydantic import Field, SerializeAsAny

from augpipe.errors import UserError
from augpipe.images import ImageSet, ImageSpec
from augpipe.kinds import kinds_in, load_kind
from augpipe.runtime import Runtime
from augpipe.schema import KindConfig, by_kind
from augpipe.store import Ref, load_images


class GeneratorConfig(KindConfig):
    """What every family's configuration holds; the family adds its own."""

    # Whether images come from a trained model; a baseline that only interpolates says False.
    generative: ClassVar[bool] = True

    kimg: float = Field(default=60.0, ge=0)  # budget, thousands of real images seen
    batch: int = Field(default=100, ge=2)  # real images a step
    ticks: int = Field(default=6, ge=1)  # validations and previews, evenly over the budget


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


AnyGenerator = Annotated[SerializeAsAny[GeneratorConfig], by_kind(__name__, "generator")]


def families() -> tuple[str, ...]:
    """The generator families there are."""
    return kinds_in(__name__)


def check(config: GeneratorConfig, problem: Problem) -> None:
    """UserError where the family cannot make such images: asked before anything is trained."""
    module = load_kind(__name__, config.kind, "generator")
    if hasattr(module, "check"):
        module.check(config, problem)


def build(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """A fresh generator of `config`'s family; its weights and noise follow from `seed`."""
    generator: Generator = load_kind(__name__, config.kind, "generator").build(
        config, problem, runtime, seed
    )
    return generator


def pack(
    config: GeneratorConfig, problem: Problem, seed: int, train: Ref, state: Mapping[str, Any]
) -> dict[str, Any]:
    """A checkpoint that stands alone: tensors and plain values, readable with `weights_only=True`.

    train: the set it learned from, which a generator that derives images needs again.
    """
    return {
        "config": config.model_dump(mode="json"),
        "spec": [problem.spec.size, problem.spec.channels],
        "classes": list(problem.classes),
        "seed": seed,
        "train": {"path": str(train.path), "sha256": train.sha256},
        "state": dict(state),
    }


def unpack(checkpoint: Mapping[str, Any], runtime: Runtime) -> tuple[Generator, Problem]:
    """The generator out of what `pack` made, ready to sample; UserError where its train set is needed and gone."""
    config: GeneratorConfig = load_kind(
        __name__, checkpoint["config"]["kind"], "generator"
    ).Config.model_validate(checkpoint["config"])
    size, channels = checkpoint["spec"]
    problem = Problem(ImageSpec(size, channels), tuple(checkpoint["classes"]))
    generator = build(config, problem, runtime, checkpoint["seed"])
    if isinstance(generator, Deriving):
        train = Path(checkpoint["train"]["path"])
        if not train.is_dir():
            raise UserError(
                f"{config.kind} makes images from its training set, which is gone: {train}"
            )
        generator.prepare(load_images(train))
    generator.load_state_dict(checkpoint["state"])
    return generator, problem
