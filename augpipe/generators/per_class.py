"""One model a class, of any family: K generators of one class each that answer as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy
from augpipe.generators.protocol import Derived, Deriving, Generator, Problem


def part_problem(problem: Problem, label: int) -> Problem:
    """What one class's model is made for."""
    return Problem(problem.spec, (problem.classes[label],))


def part_seed(seed: int, label: int) -> int:
    """The seed of one class's model."""
    return entropy(seed, "class", label)


def part_set(images: ImageSet, label: int | None) -> tuple[ImageSet, NDArray[np.int64]]:
    """The images of a class as a set of one class, and their rows; of all classes together for None."""
    rows = np.arange(len(images)) if label is None else np.flatnonzero(images.labels == label)
    name = "all" if label is None else images.classes[label]
    labels = np.zeros(len(rows), np.int64)
    pixels = images.images if label is None else images.images[rows]
    table = images.table if label is None else images.table.iloc[rows].reset_index(drop=True)
    return ImageSet(pixels, labels, (name,), table), rows


class PerClass:
    """Each label is answered by its own model; a model of a class without train images is never asked."""

    def __init__(self, parts: list[Generator], problem: Problem) -> None:
        self.parts, self.problem = parts, problem
        self.rows: dict[int, NDArray[np.int64]] = {}

    def prepare(self, train: ImageSet) -> None:
        """Show each model its class."""
        for label, part in enumerate(self.parts):
            own, self.rows[label] = part_set(train, label)
            if len(own):
                part.prepare(own)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """A step of each model whose class has two images or more in the batch; mean losses.

        Each counts its own images: phases that are shares of a budget take K times as long as in a model of
        its own, as the flows train them.
        """
        told: dict[str, list[torch.Tensor]] = {}
        for label in labels.unique().tolist():
            own = images[labels == label]
            if len(own) < 2:
                continue
            zeros = torch.zeros(len(own), dtype=torch.int64, device=labels.device)
            for name, loss in self.parts[label].step(own, zeros).items():
                told.setdefault(name, []).append(loss)
        return {name: torch.stack(found).mean() for name, found in told.items()}

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Images of each label's own model."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        for label in labels.unique().tolist():
            own = labels == label
            asked = torch.zeros(int(own.sum()), dtype=torch.int64)
            images[own] = self.parts[label].sample(asked, rng)
        return images

    def lower_learning_rate(self, factor: float) -> None:
        """Of every model."""
        for part in self.parts:
            part.lower_learning_rate(factor)

    def state_dict(self) -> dict[str, Any]:
        """The models' states by label."""
        return {"parts": {label: part.state_dict() for label, part in enumerate(self.parts)}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave; labels without a model keep a fresh one."""
        for label, own in state["parts"].items():
            self.parts[label].load_state_dict(own)


class PerClassDeriving(PerClass):
    """The same over a family that derives its images from train's."""

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """See `derive`."""
        return self.derive(labels, rng).images

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Images of each label's own model, with the rows of train that they were made from."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        for label in labels.unique().tolist():
            own = labels == label
            part = cast(Deriving, self.parts[label])
            made = part.derive(torch.zeros(int(own.sum()), dtype=torch.int64), rng)
            images[own] = made.images
            parents[own] = torch.from_numpy(self.rows[label])[made.parents]
        return Derived(images, parents)


def joined(parts: list[Generator], problem: Problem) -> PerClass:
    """Models of single classes, in label order, as one generator."""
    deriving = isinstance(parts[0], Deriving)
    return (PerClassDeriving if deriving else PerClass)(parts, problem)
