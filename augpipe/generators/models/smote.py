"""SMOTE in pixel space and two variants, sampled by imbalanced-learn: baselines without training.

`plain` is SMOTE (Chawla et al. 2002). `borderline` starts from images with at least half, but not all, of their
neighbours in other classes (Han et al. 2005, borderline-1). `adasyn` starts from an image in proportion to its
neighbours in other classes (He et al. 2008). If no image of a class has a neighbour in another class, these two fall
back to `plain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
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
    not_truncated: ClassVar[str] = "it has no latents"
    not_exported: ClassVar[str] = "its images are not those of one network"

    kind: Literal["smote"]
    """SMOTE in pixel space and two variants, by imbalanced-learn; no training."""

    kimg: float = Field(default=0.0, ge=0, le=0)
    """Must be 0: SMOTE is not trained."""

    neighbours: int = Field(default=5, ge=1)
    """The second image is drawn from this many nearest images of the class."""

    method: Literal["plain", "borderline", "adasyn"] = "plain"
    """`plain` (Chawla et al. 2002), `borderline`-1 (Han et al. 2005) or `adasyn` (He et al. 2008)."""

    around: int = Field(default=10, ge=1)
    """With `borderline`: count the classes of this many nearest images of all classes."""

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """See `GeneratorConfig`."""
        yield from super().without_effect()
        if self.method != "borderline":
            yield "around", f"with method: {self.method}"


class _Neighbours:
    """Nearest neighbours by pixels, computed once; imbalanced-learn requests them for each draw.

    It passes the pixels as a sparse matrix with further columns, of which distances would take 30 times as long.
    """

    def __init__(self, n_neighbors: int, pixels: int) -> None:
        self.n_neighbors, self._pixels = n_neighbors, pixels
        self._known: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._rows: sparse.csr_matrix | None = None

    def __sklearn_clone__(self) -> _Neighbours:
        return self

    def fit(self, x: sparse.csr_matrix) -> _Neighbours:
        """Search among these rows. The sampler is given the same ones at each draw of a class."""
        self._rows = x
        return self

    def kneighbors(self, x: sparse.csr_matrix, return_distance: bool) -> NDArray[np.int64]:
        """The nearest rows of each row of x, (N, n_neighbors), each row itself among them; never distances."""
        if self._rows is None:
            raise RuntimeError("kneighbors before fit")
        key = (self._rows.shape[0], x.shape[0])
        if key not in self._known:
            rows, queries = (m[:, : self._pixels].toarray() for m in (self._rows, x))
            from sklearn.neighbors import NearestNeighbors

            nearest = NearestNeighbors(n_neighbors=self.n_neighbors, algorithm="brute").fit(rows)
            self._known[key] = nearest.kneighbors(queries, return_distance=False)
        self._rows = None  # of all classes they would be many copies of the set
        return self._known[key]

    kneighbors_graph = kneighbors  # the sampler asks that there be one


class SMOTE:
    """Interpolate x + u·(x' - x), with x' among x's nearest neighbours in its class and u ~ U(0,1)."""

    def __init__(self, config: Config, problem: Problem) -> None:
        self.config, self.problem = config, problem
        self.rows: dict[int, NDArray[np.int64]] = {}
        self.pixels: dict[int, NDArray[np.uint8]] = {}
        self._near: dict[tuple[int, int], _Neighbours] = {}

    def prepare(self, train: ImageSet) -> None:
        """Store each class's images as rows of pixels."""
        self._near.clear()
        for label, n in train.counts().items():
            self.rows[label] = np.flatnonzero(train.labels == label).astype(np.int64)
            images = train.images[self.rows[label]]
            self.pixels[label] = images.reshape(n, int(np.prod(images.shape[1:])))

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do nothing: SMOTE is not trained."""
        return {}

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The images of `derive`."""
        return self.derive(labels, rng).images

    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Interpolate between two images of the class; the parent is the nearer one.

        A class with a single image repeats that image.
        """
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        for label in labels.unique().tolist():
            index = torch.nonzero(labels == label).squeeze(1)
            seed = int(torch.randint(0, 2**31 - 1, (1,), generator=rng))
            pixels, parent = self._interpolate(label, len(index), seed)
            rounded = pixels.round().clip(0, 255).astype(np.uint8)
            images[index] = torch.from_numpy(rounded).view(-1, *self.problem.spec.shape)
            parents[index] = torch.from_numpy(self.rows[label][parent])
        return Derived(images, parents)

    def _interpolate(self, label: int, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """n rows of pixels, and for each the position within the class of the nearer image."""
        rows = self.pixels[label].astype(np.float64)
        if len(rows) == 1:
            return np.repeat(rows, n, axis=0), np.zeros(n, np.int64)
        # The class to sample comes first. Plain SMOTE needs no other class, but the sampler refuses a single
        # class: add one dummy image.
        others = [pixels for c, pixels in self.pixels.items() if c != label and len(pixels)]
        if self.config.method == "plain" or not others:
            others = [np.zeros((1, rows.shape[1]), np.uint8)]
        x = np.concatenate([rows, *(pixels.astype(np.float64) for pixels in others)])
        y = np.repeat([0, 1], [len(rows), len(x) - len(rows)])
        # imbalanced-learn does not report which images it interpolates. Append an identity matrix, one column
        # per image: in the result these columns are the weights of the two images. They add the same distance
        # to every pair, so the neighbours do not change.
        tagged = sparse.hstack([sparse.csr_matrix(x), sparse.identity(len(x))], format="csr")
        resampled = self._resample(tagged, y, n, seed, label)
        pixels = rows.shape[1]
        return resampled[:, :pixels].toarray(), np.asarray(resampled[:, pixels:].argmax(axis=1)).ravel()

    def _neighbours(self, label: int, k: int) -> _Neighbours:
        pixels = int(np.prod(self.problem.spec.shape))
        return self._near.setdefault((label, k), _Neighbours(k + 1, pixels))

    def _resample(self, x: sparse.csr_matrix, y: NDArray[np.int64], n: int, seed: int, label: int) -> sparse.csr_matrix:
        """Sample n new rows of class 0, which is `label`."""
        from imblearn import over_sampling  # with scikit-learn a second, and not needed to check options

        count = int((y == 0).sum())
        k = self._neighbours(label, min(self.config.neighbours, count - 1))
        rng = np.random.default_rng(seed)
        if self.config.method == "borderline":
            sampler = over_sampling.BorderlineSMOTE(
                sampling_strategy={0: count + n},
                k_neighbors=k,
                m_neighbors=self._neighbours(label, min(self.config.around, len(y) - 1)),
                random_state=seed,
            )
            rows = sampler.fit_resample(x, y)[0][len(y) :]
            if rows.shape[0]:
                return rows
        if self.config.method == "adasyn":
            rows = _adasyn(x, y, n, k, seed)
            if rows is not None:
                return rows[rng.permutation(rows.shape[0])[:n]]
        sampler = over_sampling.SMOTE(sampling_strategy={0: count + n}, k_neighbors=k, random_state=seed)
        return sampler.fit_resample(x, y)[0][len(y) :]

    def lower_learning_rate(self, factor: float) -> None:
        """Do nothing: there is no learning rate."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: `prepare` provides everything."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing: `prepare` provides the images."""


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> SMOTE:
    """Build a SMOTE sampler."""
    return SMOTE(config, problem)


def _adasyn(x: sparse.csr_matrix, y: NDArray[np.int64], n: int, k: _Neighbours, seed: int) -> sparse.csr_matrix | None:
    """Sample at least n rows of class 0; None if none of its images has a neighbour of another class.

    ADASYN rounds the number of samples per image, so a small n over many images may round to no samples: request
    more until there are n.
    """
    from imblearn import over_sampling

    count, requested = int((y == 0).sum()), n
    while requested <= max(64 * n, 64 * count):
        sampler = over_sampling.ADASYN(sampling_strategy={0: count + requested}, n_neighbors=k, random_state=seed)
        try:
            rows = sampler.fit_resample(x, y)[0][len(y) :]
        except RuntimeError:
            return None
        except ValueError:  # every image's number of samples rounded to 0
            rows = x[:0]
        if rows.shape[0] >= n:
            return rows
        requested *= 2
    return None
