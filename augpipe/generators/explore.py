"""Images that show what a generator's latent space holds: truncations, walks, ways between classes, arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch

from augpipe.core.seeds import torch_stream
from augpipe.generators.per_class import PerClass
from augpipe.generators.protocol import Finite, Generator, Latent

TRUNCATIONS: Final = (0.3, 0.5, 0.7, 1.0)
SHOWN: Final = 8  # samples of a class
STEPS: Final = 9  # images of a walk and of a way between classes, both ends included
AMOUNTS: Final = (0.0, 0.5, 1.0, 1.5)  # of the difference of two classes' means
ROWS: Final = 3  # walks of a class, ways between two classes, images of an addition
NO_LATENTS: Final = "it has no latents"


@dataclass(frozen=True)
class Strip:
    """Images uint8 (N,C,H,W) in a row, with a caption."""

    caption: str
    images: torch.Tensor


def why_not(generator: Generator, name: str) -> str:
    """Why the family does not support what the attribute `name` of `Latent` is about; "" if it does."""
    model = generator.models[0] if isinstance(generator, PerClass) else generator
    if not isinstance(model, Latent):
        return getattr(model, name, "") or getattr(model, "not_decoded", NO_LATENTS)
    return str(model.not_decoded if name != "not_truncated" and model.not_decoded else getattr(model, name))


def why_not_between(generator: Generator, name: str) -> str:
    """`why_not` of what needs two classes in one model."""
    return "each class has a model of its own" if isinstance(generator, PerClass) else why_not(generator, name)


def samples(generator: Generator, label: int, seed: int) -> torch.Tensor:
    """SHOWN images of a class, fewer if there are no more; the same for every truncation of one seed."""
    n = min(SHOWN, generator.available[label]) if isinstance(generator, Finite) else SHOWN
    return generator.sample(torch.full((n,), label), torch_stream(seed, "explore", "samples", label))


def truncations(generator: Generator, label: int, seed: int) -> Iterator[Strip]:
    """The same draws of a class at each of TRUNCATIONS."""
    model, _ = _model(generator, label)
    for psi in TRUNCATIONS:
        model.set_truncation(psi)
        try:
            yield Strip(f"truncation {psi:g}", samples(generator, label, seed))
        finally:
            model.set_truncation(1.0)


def walks(generator: Generator, label: int, seed: int) -> Iterator[Strip]:
    """Ways between two random points of a class, in STEPS images."""
    model, inner = _model(generator, label)
    rng, labels = torch_stream(seed, "explore", "walk", label), torch.full((STEPS,), inner)
    for number in range(ROWS):
        first, second = model.points(torch.full((2,), inner), rng).split(1)
        points = [model.walk(first, second, inner, step / (STEPS - 1)) for step in range(STEPS)]
        yield Strip(f"walk {number + 1}", model.decode(torch.cat(points), labels))


def between_classes(generator: Generator, pair: tuple[int, int], seed: int) -> Iterator[Strip]:
    """Ways between a point of one class and the point of another that the same random numbers give, in STEPS images.

    Both the point and what the network knows of the class move.
    """
    model, _ = _model(generator, pair[0])
    first, second = (_points(model, label, pair, seed) for label in pair)
    labels, images = torch.full((ROWS,), pair[0]), list[torch.Tensor]()
    for step in range(STEPS):
        amount = step / (STEPS - 1)
        with model.blended(*pair, amount):
            images.append(model.decode(torch.lerp(first, second, amount), labels))
    for row in range(ROWS):
        yield Strip(f"latent {row + 1}", torch.stack([column[row] for column in images]))


def arithmetic(generator: Generator, pair: tuple[int, int], seed: int) -> Iterator[Strip]:
    """Images of one class plus AMOUNTS times the difference of the means of another class and this one."""
    model, _ = _model(generator, pair[0])
    points = _points(model, pair[0], pair, seed)
    images = [model.shifted(points, *pair, amount) for amount in AMOUNTS]
    for row in range(ROWS):
        yield Strip(f"latent {row + 1}", torch.stack([column[row] for column in images]))


def pairs_of(labels: Sequence[int]) -> list[tuple[int, int]]:
    """Each label and the next one."""
    return list(pairwise(labels))


def _points(model: Latent, label: int, pair: tuple[int, int], seed: int) -> torch.Tensor:
    return model.points(torch.full((ROWS,), label), torch_stream(seed, "explore", "pair", *pair))


def _model(generator: Generator, label: int) -> tuple[Latent, int]:
    """The model of a class that can be explored, and the label of the class in it; TypeError if `why_not` has an
    answer."""
    model, inner = (generator.models[label], 0) if isinstance(generator, PerClass) else (generator, label)
    if not isinstance(model, Latent):
        raise TypeError(f"{type(model).__name__} has no latents")
    model.averaged()
    return model, inner
