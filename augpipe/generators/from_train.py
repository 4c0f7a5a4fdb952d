"""Base class of the families whose generator draws images of train besides its batches."""

from __future__ import annotations

import torch

from augpipe.core.device import ClassRows, Pool
from augpipe.core.images import ImageSet, to_float
from augpipe.generators.latents import LatentGenerator


class FromTrain(LatentGenerator):
    """Holds train, and draws its images by class."""

    _train: tuple[Pool, ClassRows] | None = None

    def prepare(self, train: ImageSet) -> None:
        """Store train: images are drawn from it, and only from it."""
        super().prepare(train)
        self._train = (Pool(train, self.runtime), ClassRows(train))

    def train_images(self) -> tuple[Pool, ClassRows]:
        """Images of train, and its rows by class; RuntimeError before `prepare`."""
        if self._train is None:
            raise RuntimeError(f"{type(self).__name__} needs its training set: call prepare(train) first")
        return self._train

    def draw_train(self, labels: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a train image per label (N,): their rows (N,), and the images (N,C,H,W) in [-1,1] on the device."""
        pool, by_class = self.train_images()
        u = torch.rand(len(labels), generator=rng, dtype=torch.float64)
        rows = by_class.pick(labels.cpu(), u)
        return rows, to_float(self.runtime.move(pool.gather(rows)))
