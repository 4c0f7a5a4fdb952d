"""Points between the codes of two images of a class: SMOTE in the space of an encoder (Dablain et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from augpipe.core.seeds import numpy_stream

MAX_ENCODED = 5000  # encoded images per class to interpolate between

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
