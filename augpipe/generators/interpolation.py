"""Points between the codes of two images of a class: SMOTE in the space of an encoder (Dablain et al. 2021).

`Interpolating` is the base of the families that draw images of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.core.images import ImageSet
from augpipe.core.seeds import numpy_stream
from augpipe.generators.latents import LatentGenerator
from augpipe.generators.protocol import Derived

MAX_ENCODED = 5000  # encoded images per class

# Rows of train, int64 (N,) → their codes, float32 (N,Z) on the CPU.
Encode = Callable[[torch.Tensor], torch.Tensor]


class ClassCodes(NamedTuple):
    """rows (N,): of train. codes (N,Z), on the CPU. near (N,k): indices of the nearest codes."""

    rows: NDArray[np.int64]
    codes: torch.Tensor
    near: NDArray[np.int64]


class Interpolation:
    """Codes of the train images by class, encoded when a class is first drawn; valid for one state of the weights."""

    def __init__(self, labels: NDArray[np.int64], encode: Encode, neighbours: int, seed: int) -> None:
        self._labels, self._encode, self._neighbours, self._seed = labels, encode, neighbours, seed
        self._codes: dict[int, ClassCodes] = {}

    def draw(self, label: int, n: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """n points between codes of a class (n,Z), and the train row of the nearer end of each, int64 (n,)."""
        rows, codes, near = self.of(label)
        first = torch.randint(0, len(rows), (n,), generator=rng).numpy()
        which = torch.randint(0, near.shape[1], (n,), generator=rng).numpy()
        u = torch.rand(n, generator=rng)
        second = near[first, which]
        points = torch.lerp(codes[first], codes[second], u[:, None])
        return points, torch.from_numpy(rows[np.where(u.numpy() <= 0.5, first, second)])

    def of(self, label: int) -> ClassCodes:
        """Codes of a class; of MAX_ENCODED images drawn from it if it has more."""
        if label not in self._codes:
            rows = class_rows(self._labels, label, self._seed)
            codes = self._encode(torch.from_numpy(rows))
            k = min(self._neighbours, len(rows) - 1)
            near = np.zeros((len(rows), 1), np.int64)  # a single image is its own neighbour
            if k:
                from sklearn.neighbors import NearestNeighbors  # .6 s: imported only if used

                near = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)
            self._codes[label] = ClassCodes(rows, codes, near)
        return self._codes[label]


def class_rows(labels: NDArray[np.int64], label: int, seed: int) -> NDArray[np.int64]:
    """Rows of a class, int64 (N,): all, or MAX_ENCODED drawn without replacement, in ascending order."""
    rows = np.flatnonzero(labels == label).astype(np.int64)
    if len(rows) > MAX_ENCODED:
        stream = numpy_stream(seed, "encodings", label)
        rows = np.sort(stream.choice(rows, MAX_ENCODED, replace=False))
    return rows


class Interpolating(LatentGenerator):
    """Images decoded from points between the codes of two train images of the class; the nearer one is the parent."""

    not_truncated: ClassVar[str] = "it interpolates between images of train, and draws no latents"

    _interpolation: Interpolation | None = None  # of the averaged weights as they are; None if not encoded yet

    @property
    @abstractmethod
    def neighbours(self) -> int:
        """The second code is one of this many nearest of the class."""

    @abstractmethod
    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of train, int64 (N,) → their codes by the averaged weights, float32 (N,Z) on the CPU."""

    def points(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Points between two codes of the class."""
        drawn = torch.empty(len(labels), self.latent)
        for label in labels.unique().tolist():
            index = torch.nonzero(labels == label).squeeze(1)
            drawn[index] = self.interpolation().draw(label, len(index), rng)[0]
        return drawn

    def walk(self, first: torch.Tensor, second: torch.Tensor, label: int, amount: float) -> torch.Tensor:
        """Straight, as the points themselves are drawn."""
        return torch.lerp(first, second, amount)

    @property
    def not_shifted(self) -> str:
        """The codes of each class have a mean."""
        return ""

    def latent_means(self, labels: torch.Tensor) -> torch.Tensor:
        """Means of the classes' codes."""
        return torch.stack([self.interpolation().of(label).codes.mean(0) for label in labels.tolist()])

    def interpolation(self) -> Interpolation:
        """Codes of the train images by the averaged weights, to draw points between."""
        if self._interpolation is None:
            self._interpolation = Interpolation(self._train_labels, self.codes_of, self.neighbours, self._seed)
        return self._interpolation

    def prepare(self, train: ImageSet) -> None:
        """Store train's labels: points are drawn between the codes of its images."""
        super().prepare(train)
        self._train_labels, self._interpolation = np.array(train.labels), None

    def finish_step(self, n: int) -> None:
        """See `NetworkGenerator`; codes of earlier weights are dropped, as by the following methods."""
        super().finish_step(n)
        self._interpolation = None

    def warm_start(self, state: Mapping[str, Any]) -> None:
        """See `NetworkGenerator`."""
        super().warm_start(state)
        self._interpolation = None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self._interpolation = None

    def _recalibrate(self) -> None:
        super()._recalibrate()
        self._interpolation = None

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The images of `derive`."""
        return self.derive(labels, rng).images

    @torch.no_grad()
    def derive(self, labels: torch.Tensor, rng: torch.Generator) -> Derived:
        """Decode points between two codes of the class; the parent is the nearer image."""
        images = torch.empty((len(labels), *self.problem.spec.shape), dtype=torch.uint8)
        parents = torch.empty(len(labels), dtype=torch.int64)
        for label in labels.unique().tolist():
            index = torch.nonzero(labels == label).squeeze(1)
            points, parents[index] = self.interpolation().draw(label, len(index), rng)
            images[index] = self.decode(points, labels[index])
        return Derived(images, parents)
