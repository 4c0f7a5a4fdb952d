"""Look up generator families by file name in `models/`, build them, pack and unpack checkpoints.

A family's file has `Config(GeneratorConfig)`, `build(config, problem, runtime, seed) -> Generator` and, if
it cannot generate every kind of image, `check(config, problem)`. `per_class: true` builds one model per class of
any family that trains one (see `per_class`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from augpipe.core.device import Runtime
from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet
from augpipe.core.refs import Ref
from augpipe.core.registry import kinds_in, load_kind
from augpipe.core.store import load_images
from augpipe.generators import per_class
from augpipe.generators.options import FAMILIES, GeneratorConfig
from augpipe.generators.preview import not_stored
from augpipe.generators.protocol import Generator, Problem

# SHA-256 of a stored image set → the set, or None if it is not available (`Store.images`).
Find = Callable[[str], ImageSet | None]


def names() -> tuple[str, ...]:
    """Names of all generator families."""
    return kinds_in(FAMILIES)


def check(config: GeneratorConfig, problem: Problem) -> None:
    """Raise UserError if the family cannot generate such images; called before any training."""
    module = load_kind(FAMILIES, config.kind, "generator")
    if hasattr(module, "check"):
        module.check(config, problem)


def build_one(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """Build a fresh model of `config`'s family, ignoring `per_class`."""
    generator: Generator = load_kind(FAMILIES, config.kind, "generator").build(config, problem, runtime, seed)
    return generator


def build(config: GeneratorConfig, problem: Problem, runtime: Runtime, seed: int) -> Generator:
    """Build a fresh generator of `config`'s family; `seed` determines its weights and noise."""
    if config.per_class:
        models = [
            build_one(config, per_class.class_problem(problem, label), runtime, per_class.class_seed(seed, label))
            for label in range(len(problem.classes))
        ]
        return per_class.combine(models, problem)
    return build_one(config, problem, runtime, seed)


def pack(config: GeneratorConfig, problem: Problem, seed: int, train: Ref, state: Mapping[str, Any]) -> dict[str, Any]:
    """Pack a generator into a checkpoint of tensors and plain values, readable with `weights_only=True`.

    train: its training set. The checkpoint holds the set's digest and no path, so equal training gives equal bytes in
    any store. A family that draws from stored images needs them again in `unpack`: train, or those of its source, in
    place of which they are then given here.
    """
    return {
        "config": config.of_checkpoint().model_dump(mode="json"),
        "spec": [problem.spec.size, problem.spec.channels],
        "classes": list(problem.classes),
        "seed": seed,
        "train": {"sha256": train.sha256},
        "state": dict(state),
    }


def unpack(checkpoint: Mapping[str, Any], runtime: Runtime, find: Find) -> tuple[Generator, Problem]:
    """Rebuild the generator from what `pack` returned, ready to sample.

    find: looks the train set up by its digest; called only for a family that draws from stored images.
    Raises UserError if they are not available.
    """
    config: GeneratorConfig = load_kind(FAMILIES, checkpoint["config"]["kind"], "generator").Config.model_validate(
        checkpoint["config"]
    )
    size, channels = checkpoint["spec"]
    problem = Problem(ImageSpec(size, channels), tuple(checkpoint["classes"]))
    generator = build(config, problem, runtime, checkpoint["seed"])
    if config.draws_from_images:
        generator.prepare(_stored_images(config, checkpoint["train"], find))
    generator.load_state_dict(checkpoint["state"])
    return generator, problem


def _stored_images(config: GeneratorConfig, train: Mapping[str, str], find: Find) -> ImageSet:
    """The images that a checkpoint draws from, by digest; checkpoints of earlier versions also hold their path."""
    images = find(train["sha256"])
    if images is not None:
        return images
    path = Path(train["path"]) if "path" in train else None
    if path is not None and path.is_dir():
        return load_images(path)
    raise not_stored(config.kind, config.derives, train["sha256"])
