"""What every generator family, source and metric must hold; run over all of them by test_contracts.py."""

from __future__ import annotations

from typing import Any

import torch

from augpipe import generators
from augpipe.generators import Generator, GeneratorConfig, Problem
from augpipe.images import ImageSet
from augpipe.kinds import load_kind
from augpipe.runtime import Runtime

# The smallest settings at which a family still does all it does.
TINY: dict[str, dict[str, Any]] = {"acgan": {"width": 0.06, "latent": 8, "batch": 8, "kimg": 0.1}}


def tiny(family: str) -> GeneratorConfig:
    config: GeneratorConfig = load_kind("augpipe.generators", family, "generator").Config(
        kind=family, **TINY.get(family, {})
    )
    return config


def fresh(family: str, train: ImageSet, here: Runtime, seed: int = 0) -> Generator:
    generator = generators.build(tiny(family), Problem(train.spec, train.classes), here, seed)
    generator.prepare(train)
    return generator


def steps(generator: Generator, train: ImageSet, n: int, seed: int = 0) -> list[dict[str, float]]:
    """n updates on seeded batches; their losses."""
    rng = torch.Generator().manual_seed(seed)
    images, labels = train.tensors()
    told = []
    for _ in range(n):
        at = torch.randint(0, len(labels), (8,), generator=rng)
        told.append({k: float(v) for k, v in generator.step(images[at], labels[at]).items()})
    return told


def draw(generator: Generator, labels: list[int], seed: int = 0) -> torch.Tensor:
    asked = torch.tensor(labels, dtype=torch.int64)
    return generator.sample(asked, torch.Generator().manual_seed(seed))
