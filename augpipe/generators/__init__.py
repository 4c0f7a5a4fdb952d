"""The Generator protocol and the resolver; then one file a family.

A family's file has `Config(GeneratorConfig)`, `build(config, problem, runtime, seed) -> Generator` and,
where it cannot make every kind of image, `check(config, problem)`. `per_class: true` gives any family one
model a class (see `per_class`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from pydantic import Field, SerializeAsAny, model_validator

from augpipe.errors import UserError
from augpipe.images import ImageSet, ImageSpec
from augpipe.kinds import kinds_in, load_kind
from augpipe.runtime import Runtime
from augpipe.schema import KindConfig, by_kind
from augpipe.store import Ref, load_images


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


AnyGenerator = Annotated[SerializeAsAny[GeneratorConfig], by_kind(__name__, "generator")]


def families() -> tuple[str, ...]:
    """The generator families there are."""
    return kinds_in(__name__)


def check(config: GeneratorConfig, problem: Problem) -> None:
    """UserError where the family cannot make such images: asked before anything is trained."""
    module = load_kind(__name__, config.kind, "generator")
    if hasattr(module, "check"):
        module.check(config, problem)


def build_one(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """A fresh model of `config`'s family, whatever `per_class` says."""
    generator: Generator = load_kind(__name__, config.kind, "generator").build(
        config, problem, runtime, seed
    )
    return generator


def build(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """A fresh generator of `config`'s family; its weights and noise follow from `seed`."""
    if config.per_class:
        from augpipe.generators._per_class import join  # it imports this module

        return join(config, problem, runtime, seed)
    return build_one(config, problem, runtime, seed)


def pack(
    config: GeneratorConfig, problem: Problem, seed: int, train: Ref, state: Mapping[str, Any]
) -> dict[str, Any]:
    """A checkpoint of tensors and plain values, readable with `weights_only=True`.

    train: the set it learned from, which a generator that derives images needs again: such a checkpoint works as long as
    the store holds it.
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
