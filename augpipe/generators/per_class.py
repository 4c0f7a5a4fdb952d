"""One model per class, of any family: K single-class generators combined into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.core.images import ImageSet
from augpipe.core.seeds import entropy
from augpipe.generators.protocol import Derived, Deriving, Generator, Problem


def class_problem(problem: Problem, label: int) -> Problem:
    """The problem of one class's model: the same image spec, one class."""
    return Problem(problem.spec, (problem.classes[label],))


def class_seed(seed: int, label: int) -> int:
    """The seed of one class's model."""
    return entropy(seed, "class", label)


def class_subset(images: ImageSet, label: int | None) -> tuple[ImageSet, NDArray[np.int64]]:
    """The images of one class as a single-class set, and their rows; label None: all classes as one."""
    rows = np.arange(len(images)) if label is None else np.flatnonzero(images.labels == label)
    name = "all" if label is None else images.classes[label]
    labels = np.zeros(len(rows), np.int64)
    pixels = images.images if label is None else images.images[rows]
    table = images.table if label is None else images.table.iloc[rows].reset_index(drop=True)
    return ImageSet(pixels, labels, (name,), table), rows


class PerClass:
    """Route each label to the model of its class; classes without train images are never sampled."""

    def __init__(self, models: list[Generator], problem: Problem) -> None:
        self.models, self.problem = models, problem
        self.rows: dict[int, NDArray[np.int64]] = {}

    def prepare(self, train: ImageSet) -> None:
        """Prepare each model with the images of its class."""
        for label, model in enumerate(self.models):
            subset, self.rows[label] = class_subset(train, label)
            if len(subset):
                model.prepare(subset)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Update each model whose class has at least two images in the batch; return mean losses by name.

        Each model counts only its images: phases given as fractions of the budget last K times as long as in
        models trained one by one, as the pipeline trains them.
        """
        losses: dict[str, list[torch.Tensor]] = {}
        for label in labels.unique().tolist():
            batch = images[labels == label]
            if len(batch) < 2:
                continue
            zeros = torch.zeros(len(batch), dtype=torch.int64, device=labels.device)
            for name, loss in self.models[label].step(batch, zeros).items():
                losses.setdefault(name, []).append(loss)
        return {name: torch.stack(values).mean() for name, values in losses.items()}

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Sample each label from the model of its class."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        for label in labels.unique().tolist():
            selected = labels == label
            zeros = torch.zeros(int(selected.sum()), dtype=torch.int64)
            images[selected] = self.models[label].sample(zeros, rng)
        return images

    def lower_learning_rate(self, factor: float) -> None:
        """Lower the learning rate of every model."""
        for model in self.models:
            model.lower_learning_rate(factor)

    def state_dict(self) -> dict[str, Any]:
        """The models' states by label."""
        return {"parts": {label: model.state_dict() for label, model in enumerate(self.models)}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; labels missing from `state` keep their fresh model."""
        for label, model_state in state["parts"].items():
            self.models[label].load_state_dict(model_state)


class PerClassDeriving(PerClass):
    """PerClass for a family that derives its images from train images."""

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The images of `derive`."""
        return self.derive(labels, rng).images

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Derive each label's images with the model of its class; parents are rows of the whole train set."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        for label in labels.unique().tolist():
            selected = labels == label
            model = cast(Deriving, self.models[label])
            derived = model.derive(torch.zeros(int(selected.sum()), dtype=torch.int64), rng)
            images[selected] = derived.images
            parents[selected] = torch.from_numpy(self.rows[label])[derived.parents]
        return Derived(images, parents)


def combine(models: list[Generator], problem: Problem) -> PerClass:
    """Combine single-class models, in label order, into one generator."""
    deriving = isinstance(models[0], Deriving)
    return (PerClassDeriving if deriving else PerClass)(models, problem)
