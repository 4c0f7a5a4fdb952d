"""Mirrors and quarter turns of square images: applied at random, and a test on val of which of them keep the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

Change = Callable[[torch.Tensor], torch.Tensor]  # (N,C,H,W) → (N,C,H,W), every image
Values = NDArray[np.float64]

# The symmetries of a square besides the identity (the dihedral group of order 8).
ELEMENTS: Final[Mapping[str, Change]] = {
    "fliplr": lambda images: images.flip(3),
    "flipud": lambda images: images.flip(2),
    "rot180": lambda images: images.rot90(2, (2, 3)),
    "rot90": lambda images: images.rot90(1, (2, 3)),
    "rot270": lambda images: images.rot90(3, (2, 3)),
    "transpose": lambda images: images.transpose(2, 3),
    "antitranspose": lambda images: images.rot90(2, (2, 3)).transpose(2, 3),
}
# Subgroups, the largest first: the names that generate each, and its elements.
GROUPS: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("fliplr", "rot90"): tuple(ELEMENTS),
    ("fliplr", "flipud"): ("fliplr", "flipud", "rot180"),
    ("rot90",): ("rot90", "rot180", "rot270"),
    ("fliplr",): ("fliplr",),
    ("flipud",): ("flipud",),
    ("rot180",): ("rot180",),
    (): (),
}
LOST: Final = 0.1  # of what the classifier knows beyond chance, at most
LEVEL: Final = 0.05  # of each one-sided test


class Symmetries:
    """Random mirrors and turns of each image, uint8 (N,C,H,W) → uint8 (N,C,H,W).

    names: `fliplr`, `flipud` and `rot180` apply to every second image, `rot90` turns by 0 to 3 quarters, all of them
    equally often.
    """

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names = tuple(names)
        # Another seed than that of the policy, whose draws would go along with these.
        self._rng = torch.Generator().manual_seed((seed ^ 0x5EED) % 2**63)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """A transformed copy of each image."""
        images = images.clone()
        for name in self._names:
            steps = ("rot90", "rot180", "rot270") if name == "rot90" else (name,)
            drawn = torch.randint(0, len(steps) + 1, (len(images),), generator=self._rng)
            for number, step in enumerate(steps, 1):
                rows = (drawn == number).to(images.device)
                images[rows] = ELEMENTS[step](images[rows])
        return images


@dataclass(frozen=True)
class Loss:
    """What a classifier loses in the mean over the classes if the images are changed.

    mean: of the probability of the true class. passed: whether the change is shown to keep the classes. limit: what the
    mean, and that of each class, may be with certainty; 0 or less if the classifier knows nothing.
    """

    mean: float
    passed: bool
    limit: float


def class_loss(before: Values, after: Values, labels: NDArray[np.int64], n_classes: int) -> Loss:
    """Whether a change of the images keeps their classes, by a classifier that was trained without it.

    before, after: probability of the true class of each val image (N,), unchanged and changed. Kept, if the upper end
    of the interval of the mean loss over classes is at most LOST of the probability beyond chance, and no class
    loses more than that (Bonferroni). A classifier that knows nothing shows nothing: then no change is kept.
    """
    classes = np.unique(labels)
    lost = before - after
    n = np.array([(labels == c).sum() for c in classes])
    means = np.array([lost[labels == c].mean() for c in classes])
    mean = float(means.mean())
    freedom = len(labels) - len(classes)
    known = float(np.mean([before[labels == c].mean() for c in classes])) - 1 / n_classes
    limit = LOST * known
    if freedom < 1 or limit <= 0:
        return Loss(mean, False, limit)
    pooled = sum(((lost[labels == c] - lost[labels == c].mean()) ** 2).sum() for c in classes) / freedom
    # A class with few images has an uncertain variance: never less than that of all.
    single = [float(lost[labels == c].var(ddof=1)) if k > 1 else 0.0 for c, k in zip(classes, n, strict=True)]
    error = float(np.sqrt((np.maximum(single, pooled) / n).sum())) / len(classes)
    upper = mean + student.ppf(1 - LEVEL, freedom) * error
    # With the variance of all images: a class of one image can then fail as well.
    excess = (means - limit) / (np.sqrt(pooled / n) + 1e-9)
    worst = student.ppf(1 - LEVEL / len(classes), freedom)
    return Loss(mean, bool(upper <= limit and (excess <= worst).all()), limit)


def largest_group(passed: Mapping[str, bool]) -> tuple[str, ...]:
    """Names of symmetries whose combinations all keep the class, as many as possible; passed: of each of ELEMENTS."""
    return next(names for names, elements in GROUPS.items() if all(passed[name] for name in elements))
