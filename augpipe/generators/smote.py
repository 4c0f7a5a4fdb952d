"""SMOTE in pixel space (Chawla et al. 2002), drawn by imbalanced-learn: no training, a baseline among arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from imblearn import over_sampling
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from augpipe.generators import Derived, GeneratorConfig, Problem
from augpipe.images import ImageSet
from augpipe.runtime import Runtime


class Config(GeneratorConfig):
    """`neighbours`: among how many nearest images of the class the second end is drawn."""

    generative: ClassVar[bool] = False

    kind: Literal["smote"]
    kimg: float = Field(default=0.0, ge=0, le=0)
    neighbours: int = Field(default=5, ge=1)


class SMOTE:
    """x + u·(x' - x) with x' among x's nearest neighbours in its class and u ~ U(0,1)."""

    def __init__(self, config: Config, problem: Problem) -> None:
        self.config, self.problem = config, problem
        self.rows: dict[int, NDArray[np.int64]] = {}
        self.pixels: dict[int, NDArray[np.uint8]] = {}

    def prepare(self, train: ImageSet) -> None:
        """Keep each class's images as rows of pixels."""
        for label in train.counts():
            self.rows[label] = np.flatnonzero(train.labels == label).astype(np.int64)
            own = train.images[self.rows[label]]
            self.pixels[label] = own.reshape(len(own), int(np.prod(own.shape[1:])))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Nothing is trained."""
        return {}

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """See `derive`."""
        return self.derive(labels, rng).images

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """An image between two of the class; its parent is the nearer end.

        A class with one image has nothing to lie between: that image is repeated.
        """
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        for label in labels.unique().tolist():
            at = torch.nonzero(labels == label).squeeze(1)
            seed = int(torch.randint(0, 2**31 - 1, (1,), generator=rng))
            made, parent = self._between(label, len(at), seed)
            shaped = made.round().clip(0, 255).astype(np.uint8)
            images[at] = torch.from_numpy(shaped).view(-1, *self.problem.spec.shape)
            parents[at] = torch.from_numpy(self.rows[label][parent])
        return Derived(images, parents)

    def _between(
        self, label: int, n: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """n rows of pixels and, for each, the position of the nearer end within the class."""
        own = self.pixels[label].astype(np.float64)
        if len(own) == 1:
            return np.repeat(own, n, axis=0), np.zeros(n, np.int64)
        # imbalanced-learn does not tell which images it interpolates. One more column an image, 1 for
        # that image alone, comes out as the two weights, and as every pair of images moves apart by
        # the same amount, neighbours stay what they are.
        tagged = sparse.hstack([sparse.csr_matrix(own), sparse.identity(len(own))], format="csr")
        other = sparse.csr_matrix((1, tagged.shape[1]))  # the sampler refuses a single class
        sampler = over_sampling.SMOTE(
            sampling_strategy={0: len(own) + n},
            k_neighbors=min(self.config.neighbours, len(own) - 1),
            random_state=seed,
        )
        x, _ = sampler.fit_resample(
            sparse.vstack([tagged, other], format="csr"), [0] * len(own) + [1]
        )
        made = x[len(own) + 1 :]
        pixels = own.shape[1]
        return made[:, :pixels].toarray(), np.asarray(made[:, pixels:].argmax(axis=1)).ravel()

    def lower_learning_rate(self, factor: float) -> None:
        """There is none."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: everything follows from train."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to put back; `prepare` brings the images."""


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> SMOTE:
    """A SMOTE sampler."""
    return SMOTE(config, problem)
