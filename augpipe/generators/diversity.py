"""Diversity of generated images, by which the training loop detects a collapsed class."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from augpipe.core.images import ImageSet
from augpipe.core.seeds import torch_stream
from augpipe.generators.protocol import Generator

DIVERSITY_GENERATED: Final = 8  # generated images per class whose diversity is measured
DIVERSITY_REAL: Final = 64  # real images per class that they are compared with


class Diversity:
    """Diversity of generated images per class, relative to real ones; detects mode collapse."""

    def __init__(self, train: ImageSet, seed: int) -> None:
        self._seed = seed
        self._real: dict[int, float] = {}
        rng = torch_stream(seed, "diversity")
        for label, n in train.counts().items():
            if n < 2:
                continue
            rows = np.flatnonzero(train.labels == label)
            sample = rows[torch.randperm(n, generator=rng)[:DIVERSITY_REAL].numpy()]
            spread = _spread(torch.from_numpy(train.images[np.sort(sample)]))
            if spread > 0:
                self._real[label] = spread
        self._labels = torch.tensor(list(self._real), dtype=torch.int64).repeat_interleave(DIVERSITY_GENERATED)

    def of(self, generator: Generator) -> dict[int, float]:
        """Class → mean distance of generated images over that of real ones; skips classes of identical images."""
        if not self._real:
            return {}
        images = generator.sample(self._labels, torch_stream(self._seed, "fixed batch"))
        return {label: _spread(images[self._labels == label]) / real for label, real in self._real.items()}


def _spread(images: torch.Tensor) -> float:
    """Mean pairwise root-mean-square distance of images uint8 (N,C,H,W), in grey levels."""
    flat = images.flatten(1).double()
    n = len(flat)
    return float(torch.pdist(flat).sum() / (n * (n - 1) / 2) / flat.shape[1] ** 0.5)
