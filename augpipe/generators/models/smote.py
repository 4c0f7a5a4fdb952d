"""SMOTE in pixel space and two of its kin, drawn by imbalanced-learn: no training, baselines among arms.

`plain`: Chawla et al. 2002. `borderline`: from images with at least half of their neighbours, but not all, in other
classes (Han et al. 2005, borderline-1). `adasyn`: from an image as often as its neighbours are of other classes (He et
al. 2008). Where no image of a class has a neighbour in another class, the last two have nothing to go by and are plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from imblearn import over_sampling
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.generators.options import GeneratorConfig
from augpipe.generators.protocol import Derived, Problem


class Config(GeneratorConfig):
    """Options of SMOTE and its variants."""

    generative: ClassVar[bool] = False
    derives: ClassVar[bool] = True

    kind: Literal["smote"]
    """SMOTE in pixel space and two variants, by imbalanced-learn; nothing is trained."""

    kimg: float = Field(default=0.0, ge=0, le=0)
    """Must be 0: nothing is trained."""

    neighbours: int = Field(default=5, ge=1)
    """The second image is drawn from this many nearest images of the class."""

    method: Literal["plain", "borderline", "adasyn"] = "plain"
    """`plain` (Chawla et al. 2002), `borderline`-1 (Han et al. 2005) or `adasyn` (He et al. 2008)."""

    around: int = Field(default=10, ge=1)
    """With `borderline`: number of nearest images of all classes whose classes are counted."""


class SMOTE:
    """x + u·(x' - x) with x' among x's nearest neighbours in its class and u ~ U(0,1)."""

    def __init__(self, config: Config, problem: Problem) -> None:
        self.config, self.problem = config, problem
        self.rows: dict[int, NDArray[np.int64]] = {}
        self.pixels: dict[int, NDArray[np.uint8]] = {}

    def prepare(self, train: ImageSet) -> None:
        """Keep each class's images as rows of pixels."""
        for label, n in train.counts().items():
            self.rows[label] = np.flatnonzero(train.labels == label).astype(np.int64)
            own = train.images[self.rows[label]]
            self.pixels[label] = own.reshape(n, int(np.prod(own.shape[1:])))

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
        # Its own class comes first, and for plain SMOTE is all there is besides one image of another: the
        # sampler refuses a single class.
        others = [pixels for c, pixels in self.pixels.items() if c != label and len(pixels)]
        if self.config.method == "plain" or not others:
            others = [np.zeros((1, own.shape[1]), np.uint8)]
        x = np.concatenate([own, *(pixels.astype(np.float64) for pixels in others)])
        y = np.repeat([0, 1], [len(own), len(x) - len(own)])
        # imbalanced-learn does not tell which images it interpolates. One more column an image, 1 for
        # that image alone, comes out as the two weights, and as every pair of images moves apart by
        # the same amount, neighbours stay what they are.
        tagged = sparse.hstack([sparse.csr_matrix(x), sparse.identity(len(x))], format="csr")
        made = self._sampled(tagged, y, n, seed)
        pixels = own.shape[1]
        return made[:, :pixels].toarray(), np.asarray(made[:, pixels:].argmax(axis=1)).ravel()

    def _sampled(
        self, x: sparse.csr_matrix, y: NDArray[np.int64], n: int, seed: int
    ) -> sparse.csr_matrix:
        """n new rows of class 0."""
        have = int((y == 0).sum())
        k = min(self.config.neighbours, have - 1)
        rng = np.random.default_rng(seed)
        if self.config.method == "borderline":
            around = min(self.config.around, len(y) - 1)
            sampler = over_sampling.BorderlineSMOTE(
                sampling_strategy={0: have + n},
                k_neighbors=k,
                m_neighbors=around,
                random_state=seed,
            )
            made = sampler.fit_resample(x, y)[0][len(y) :]
            if made.shape[0]:
                return made
        if self.config.method == "adasyn":
            made = _adasyn(x, y, n, k, seed)
            if made is not None:
                return made[rng.permutation(made.shape[0])[:n]]
        sampler = over_sampling.SMOTE(
            sampling_strategy={0: have + n}, k_neighbors=k, random_state=seed
        )
        return sampler.fit_resample(x, y)[0][len(y) :]

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


def _adasyn(
    x: sparse.csr_matrix, y: NDArray[np.int64], n: int, k: int, seed: int
) -> sparse.csr_matrix | None:
    """n rows or more; None where no image has a neighbour of another class.

    It rounds an image's part to whole numbers: asked for few among many images, every part may be 0.
    """
    have, asked = int((y == 0).sum()), n
    while asked <= max(64 * n, 64 * have):
        sampler = over_sampling.ADASYN(
            sampling_strategy={0: have + asked}, n_neighbors=k, random_state=seed
        )
        try:
            made = sampler.fit_resample(x, y)[0][len(y) :]
        except RuntimeError:
            return None
        except ValueError:  # every part was rounded to 0
            made = x[:0]
        if made.shape[0] >= n:
            return made
        asked *= 2
    return None
