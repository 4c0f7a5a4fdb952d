"""What MLflow loads a logged classifier or generator with. Weights are read with `weights_only=True`.

A model logged by a run is its checkpoint and this module's name: loading one runs augpipe's own code, as
installed, and nothing that came with the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augpipe.classifiers import train as classification
from augpipe.core import device as runtime
from augpipe.core.images import ImageSet, provenance
from augpipe.core.store import load_state
from augpipe.generators import families


class ServedClassifier:
    """uint8 (N,C,H,W) → probabilities float32 (N,K)."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._runtime = runtime.start(threads=runtime.cores())
        self._trained = classification.from_state(state, self._runtime)
        self._classes = tuple(str(c) for c in range(state["shape"][1]))

    def predict(
        self, images: NDArray[np.uint8], params: dict[str, int] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities of each class."""
        n = len(images)
        rows = ImageSet(
            np.ascontiguousarray(images, dtype=np.uint8),
            np.zeros(n, np.int64),
            self._classes,
            provenance([str(row) for row in range(n)]),
        )
        return classification.predict(self._trained, rows, self._runtime)


class ServedGenerator:
    """labels int64 (N,) → uint8 (N,C,H,W); params: `seed`, another one for other images."""

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        self._generator, _ = families.unpack(checkpoint, runtime.start(threads=runtime.cores()))

    def predict(
        self, labels: NDArray[np.int64], params: dict[str, int] | None = None
    ) -> NDArray[np.uint8]:
        """An image of each label's class."""
        rng = torch.Generator()
        rng.manual_seed(int((params or {}).get("seed", 0)))
        asked = torch.from_numpy(np.asarray(labels, dtype=np.int64).ravel())
        images: NDArray[np.uint8] = self._generator.sample(asked, rng).numpy()
        return images


def _load_pyfunc(path: str) -> ServedClassifier | ServedGenerator:
    """MLflow's entry: the folder or file that was logged."""
    place = Path(path)
    state = load_state(next(place.glob("*.pt")) if place.is_dir() else place)
    return ServedGenerator(state) if "config" in state else ServedClassifier(state)
