"""Generator families: found by file name in `models/`, built, and packed into checkpoints.

A family's file has `Config(GeneratorConfig)`, `build(config, problem, runtime, seed) -> Generator` and,
where it cannot make every kind of image, `check(config, problem)`. `per_class: true` gives any family one
model a class (see `per_class`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augpipe.core.device import Runtime
from augpipe.core.errors import UserError
from augpipe.core.images import ImageSpec
from augpipe.core.registry import kinds_in, load_kind
from augpipe.core.store import Ref, load_images
from augpipe.generators import per_class
from augpipe.generators.options import FAMILIES, GeneratorConfig
from augpipe.generators.protocol import Deriving, Generator, Problem


def names() -> tuple[str, ...]:
    """The generator families there are."""
    return kinds_in(FAMILIES)


def check(config: GeneratorConfig, problem: Problem) -> None:
    """UserError where the family cannot make such images: asked before anything is trained."""
    module = load_kind(FAMILIES, config.kind, "generator")
    if hasattr(module, "check"):
        module.check(config, problem)


def build_one(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """A fresh model of `config`'s family, whatever `per_class` says."""
    generator: Generator = load_kind(FAMILIES, config.kind, "generator").build(
        config, problem, runtime, seed
    )
    return generator


def build(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """A fresh generator of `config`'s family; its weights and noise follow from `seed`."""
    if config.per_class:
        parts = [
            build_one(
                config,
                per_class.part_problem(problem, label),
                runtime,
                per_class.part_seed(seed, label),
            )
            for label in range(len(problem.classes))
        ]
        return per_class.joined(parts, problem)
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
        FAMILIES, checkpoint["config"]["kind"], "generator"
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
