"""Labels and rows of train, drawn class by class."""

from __future__ import annotations

import torch

from augpipe.core.device import ClassRows
from augpipe.core.images import ImageSet


def drawn_together(classes: torch.Tensor, n: int, together: int, rng: torch.Generator) -> torch.Tensor:
    """Draw labels (n,) uniformly from `classes`, each repeated for `together` consecutive items."""
    index = torch.randint(0, len(classes), (-(-n // together),), generator=rng)
    return classes[index].repeat_interleave(together)[:n]


class ClassUniform:
    """Draw rows of train without end: first a non-empty class, uniformly, then an image within it.

    With natural frequencies the generator would hardly see rare classes. together: consecutive images per drawn
    class.
    """

    def __init__(self, train: ImageSet, rng: torch.Generator, together: int = 1) -> None:
        self._rows, self._together = ClassRows(train), together
        self._classes = torch.nonzero(self._rows.sizes).squeeze(1)
        self.rng = rng

    def draw(self, n: int) -> torch.Tensor:
        """Draw n rows, int64 (n,)."""
        labels = drawn_together(self._classes, n, self._together, self.rng)
        u = torch.rand(n, generator=self.rng, dtype=torch.float64)
        return self._rows.pick(labels, u)
