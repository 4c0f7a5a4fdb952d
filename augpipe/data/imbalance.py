"""Imbalance profiles: how many train images of each class are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, SerializeAsAny

from augpipe.core.counts import Counts, label_of
from augpipe.core.errors import UserError
from augpipe.core.registry import Registry
from augpipe.core.schema import OneOf, Strict


class Profile(Strict):
    """How train becomes imbalanced: class → number of images kept."""

    profile: str
    """Name of the profile."""

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """Number of images to keep of each class, in 1..have[class]."""
        raise NotImplementedError

    def least(self, classes: Sequence[str]) -> dict[int, int]:
        """Train images that the classes named in the profile must have; UserError for unknown classes."""
        return {}


profiles: Registry[type[Profile]] = Registry("imbalance profile")


@profiles.register("natural")
class Natural(Profile):
    """Class counts of the source, unchanged."""

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """All images."""
        return dict(have)


@profiles.register("step")
class Step(Profile):
    """The named classes keep a fraction of their images, at least one (Buda et al. 2018, step imbalance)."""

    classes: Annotated[tuple[str | int, ...], Field(min_length=1)]
    """Classes that become small."""

    keep: float = Field(gt=0, lt=1)
    """Fraction of their train images that is kept; at least one image."""

    def least(self, classes: Sequence[str]) -> dict[int, int]:
        """One of each class."""
        return {label_of(name, classes): 1 for name in self.classes}

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """round(keep · n) of a named class, at least 1."""
        cut = self.least(classes)
        return {c: max(1, round(n * self.keep)) if c in cut else n for c, n in have.items()}


@profiles.register("long_tail")
class LongTail(Profile):
    """n_c = n_max · factor^(-c/(K-1)) in label order, at most the available images (Cui et al. 2019)."""

    factor: float = Field(gt=1)
    """Images of the first class divided by images of the last one."""

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """Value of the curve at the index of each class."""
        most, last = max(have.values()), max(1, len(have) - 1)
        return {c: min(n, max(1, round(most * self.factor ** (-c / last)))) for c, n in have.items()}


@profiles.register("counts")
class Explicit(Profile):
    """A given number of images of each named class; other classes keep all."""

    counts: Annotated[Mapping[str | int, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Class to number of train images kept; classes not named keep all."""

    def least(self, classes: Sequence[str]) -> dict[int, int]:
        """The configured counts."""
        return {label_of(name, classes): n for name, n in self.counts.items()}

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """The configured counts; UserError if a class has fewer images."""
        requested = self.least(classes)
        for label, n in requested.items():
            if n > have[label]:
                raise UserError(
                    f"class {classes[label]!r} has {have[label]} training images, fewer than the {n} requested"
                )
        return {**have, **requested}


@profiles.register("drop")
class Drop(Profile):
    """One class loses a percentage of its images (Mariani et al. 2018, BAGAN)."""

    drop_class: str | int
    """Class that becomes small."""

    percent: float = Field(gt=0, lt=100)
    """Percentage of its train images that is removed; at least one image stays."""

    def least(self, classes: Sequence[str]) -> dict[int, int]:
        """One of the class."""
        return {label_of(self.drop_class, classes): 1}

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """round((1 - percent/100) · n) of the class, at least 1."""
        label = label_of(self.drop_class, classes)
        return {**have, label: max(1, round(have[label] * (1 - self.percent / 100)))}


def _with_key(value: Any) -> Any:
    return {"profile": value} if isinstance(value, str) else value


Imbalance = Annotated[
    SerializeAsAny[Profile],
    OneOf(Profile, "an imbalance", "profile", profiles.__getitem__, profiles.items),
    BeforeValidator(_with_key),
]


def thin(labels: NDArray[np.int64], target: Counts, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows to keep, sorted, so that class c has target[c] images; drawn without replacement."""
    rows = [rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in sorted(target.items())]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def imbalance_ratio(counts: Counts) -> float:
    """Largest class size divided by smallest; inf if a class is empty."""
    smallest = min(counts.values())
    return max(counts.values()) / smallest if smallest else float("inf")
