"""Images made elsewhere, read from a source: no model is built or trained, and each image is drawn once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from augpipe.core.device import Runtime
from augpipe.core.errors import UserError, several
from augpipe.core.images import ImageSet
from augpipe.data.sources import Source
from augpipe.generators.options import OWN_IMAGES, GeneratorConfig
from augpipe.generators.protocol import Problem


class Config(GeneratorConfig):
    """Options of images made elsewhere."""

    external: ClassVar[bool] = True
    knowledge: ClassVar[str] = OWN_IMAGES
    not_truncated: ClassVar[str] = "it has no latents"
    not_exported: ClassVar[str] = "its images are not those of one network"

    kind: Literal["images"]
    """Images of any other generator, made elsewhere and read from a folder, archive, table or arrays; no training."""

    source: Source | None = None
    """Where the images are: a mapping of `kind` and its options, as for the experiment's `source`. Classes are matched
    by name; a class of the experiment may be missing."""

    kimg: float = Field(default=0.0, ge=0, le=0)
    """Must be 0: nothing is trained."""

    def check_used(self) -> None:
        """See `GeneratorConfig`; a config needs a source, which the checkpoint of a run lacks."""
        if self.source is None:
            raise ValueError("source: kind images needs a source, such as source: {kind: folder, path: made-elsewhere}")
        if getattr(self.source, "shift", None) is not None:
            raise ValueError("source.shift: a second test set has no effect here; remove it")
        super().check_used()

    def of_checkpoint(self) -> Config:
        """Without the source: equal images give equal checkpoints, wherever they were read from."""
        return self.model_copy(update={"source": None})


class Images:
    """Draw from a set of images without replacement; labels follow the classes of the set."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._images: ImageSet | None = None
        self._rows = [np.empty(0, np.int64) for _ in problem.classes]

    def prepare(self, train: ImageSet) -> None:
        """Take the images of the set; called with those of the source, not with train."""
        self._images = train
        self._rows = [np.flatnonzero(train.labels == label) for label in range(len(self.problem.classes))]

    @property
    def available(self) -> Mapping[int, int]:
        """Number of images of each class."""
        return {label: len(rows) for label, rows in enumerate(self._rows)}

    def without_replacement(self, rng: torch.Generator) -> Images:
        """The images in a random order, which later calls of `sample` go on with."""
        return _Once(self, [rows[torch.randperm(len(rows), generator=rng).numpy()] for rows in self._rows])

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Different images of each class; UserError for more than there are."""
        return self.without_replacement(rng).sample(labels, rng)

    def images_at(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """uint8 (N,C,H,W)."""
        pixels = np.empty((len(rows), *self.problem.spec.shape), np.uint8)
        if self._images is not None and len(rows):
            pixels[:] = self._images.images[rows]
        return torch.from_numpy(pixels)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do nothing: nothing is trained."""
        return {}

    def lower_learning_rate(self, factor: float) -> None:
        """Do nothing: there is no learning rate."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: `prepare` provides everything."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing: `prepare` provides the images."""


class _Once(Images):
    """The images in an order; `sample` takes the next ones of each class."""

    def __init__(self, images: Images, order: list[NDArray[np.int64]]) -> None:
        super().__init__(images.problem)
        self._images, self._rows = images._images, images._rows
        self._order = order
        self._next = [0] * len(order)

    def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The next images of each class; rng: unused, the order is fixed."""
        rows = np.empty(len(labels), np.int64)
        for label in labels.unique().tolist():
            places = (labels == label).numpy()
            n, first, total = int(places.sum()), self._next[label], len(self._order[label])
            if first + n > total:
                raise UserError(
                    f"class {self.problem.classes[label]!r} has {several(total, 'image')}, each of which is drawn "
                    f"once; {first + n:,} were requested"
                )
            rows[places] = self._order[label][first : first + n]
            self._next[label] += n
        return self.images_at(rows)


def build(config: Config, problem: Problem, runtime: Runtime, seed: int) -> Images:
    """Build a generator of images made elsewhere; `prepare` gives it the images."""
    return Images(problem)
