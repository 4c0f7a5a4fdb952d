"""What may enter a training set: @check functions over synthetic images, with thresholds from train and val only.

Checks stand in a row, each seeing what the one before it kept. A threshold is a quantile of what real held-out
images (val) reach themselves, class by class, so that a check turns away real images at a known rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.core import neighbours
from augpipe.core.registry import Registry
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.options import Curation

Floats = NDArray[np.float32]
KNN: Final = 3  # of the real manifold (Kynkäänniemi et al. 2019)
OWN: Final = 20  # images of a class below which its threshold is that of all classes together
NEAR: Final = (
    0.01  # share of real images nearer to train (to each other) than what counts as a copy
)
DULL: Final = 0.5  # share of the least contrast of train below which an image is blank
AT_ONCE: Final = 1024
TINY: Final = 1e-6


class Judged(NamedTuple):
    """values float32 (N,): what the check saw. keep bool (N,)."""

    values: Floats
    keep: NDArray[np.bool_]


class Reference:
    """Real images that synthetic ones are held against; thresholds are taken when first asked for."""

    def __init__(
        self, train: Embedded, val: Embedded, reject: float, purity: float | None = None
    ) -> None:
        self.train, self.val, self.reject, self.purity = train, val, reject, purity
        self.classes = train.probabilities.shape[1]

    def limits(self, values: Floats, labels: NDArray[np.int64], share: float) -> Floats:
        """The `share` quantile of real images' finite values by class, float32 (K,)."""
        given = np.isfinite(values)
        values, labels = values[given], labels[given]
        whole = np.quantile(values, share) if len(values) else 0.0
        found = np.full(self.classes, whole, np.float32)
        for label in np.unique(labels):
            own = values[labels == label]
            if len(own) >= OWN:
                found[label] = np.quantile(own, share)
        return found

    @cached_property
    def of_train(self) -> dict[int, Embedded]:
        """Train, class by class."""
        return {label: self.train.of(label) for label in range(self.classes)}

    @cached_property
    def confident(self) -> Floats:
        """Least probability of the own class: of val's images that are seen right, all but `reject` pass."""
        p = self.val.probabilities[np.arange(len(self.val)), self.val.labels]
        right = self.val.predicted == self.val.labels
        return self.limits(p[right], self.val.labels[right], self.reject)

    @cached_property
    def pure(self) -> Floats:
        """Least probability from which `purity` of the val images taken for a class are of it, float32 (K,).

        Classes count alike, as many images as they have: a generator's mistakes follow no class's share. A class that
        too few val images are taken for has the threshold of all together; where none is pure enough, the purest.
        """
        if self.purity is None or len(self.val) == 0:
            return np.zeros(self.classes, np.float32)
        taken, sure = self.val.predicted, self.val.probabilities.max(1)
        right = taken == self.val.labels
        weight = 1 / np.bincount(self.val.labels, minlength=self.classes)[self.val.labels]
        found = np.full(self.classes, _purest(sure, right, weight, self.purity), np.float32)
        for label in range(self.classes):
            own = taken == label
            if (own & right).sum() >= OWN:
                found[label] = _purest(sure[own], right[own], weight[own], self.purity)
        return found

    @cached_property
    def radii(self) -> dict[int, Floats]:
        """Each train image's distance to its KNN-th nearest fellow of the class; empty for one image."""
        return {
            label: neighbours.radii(own.vectors, min(KNN, len(own) - 1))
            if len(own) > 1
            else np.empty(0, np.float32)
            for label, own in self.of_train.items()
        }

    @cached_property
    def real_enough(self) -> Floats:
        """Least realism: inside the manifold, or as far outside as `reject` of val's images are."""
        return np.minimum(
            1.0, self.limits(self.realism(self.val), self.val.labels, self.reject)
        ).astype(np.float32)

    def realism(self, images: Embedded) -> Floats:
        """Realism score of each image within its class (Kynkäänniemi et al. 2019, eq. 4); inf where none can be."""
        found = np.full(len(images), np.inf, np.float32)
        for label in np.unique(images.labels):
            rows, radius = np.flatnonzero(images.labels == label), self.radii[int(label)]
            if len(radius):
                points = self.of_train[int(label)].vectors
                found[rows] = neighbours.reach(images.vectors[rows], points, radius)
        return found

    def to_train(self, images: Embedded) -> dict[str, Floats]:
        """Distance of each image to the nearest of train in its class, in features and in pixels."""
        found = {name: np.full(len(images), np.inf, np.float32) for name in ("features", "pixels")}
        for label in np.unique(images.labels):
            rows, own = np.flatnonzero(images.labels == label), self.of_train[int(label)]
            if len(own) == 0:
                continue
            for name, a, b in (
                ("features", images.vectors, own.vectors),
                ("pixels", images.images, own.images),
            ):
                found[name][rows] = neighbours.nearest(a[rows], b)[0][:, 0]
        return found

    @cached_property
    def copy_limits(self) -> dict[str, Floats]:
        """Distance below which an image is a near copy of a train image."""
        found = self.to_train(self.val)
        return {
            name: np.maximum(self.limits(gap, self.val.labels, NEAR), TINY)
            for name, gap in found.items()
        }

    @cached_property
    def twin_limits(self) -> Floats:
        """Distance in pixels below which two images of a class are one: few real ones are as near."""
        gaps, labels = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        for label, own in self.of_train.items():
            if len(own) > 1:
                gaps.append(neighbours.radii(own.images, 1))
                labels.append(np.full(len(own), label))
        return np.maximum(self.limits(np.concatenate(gaps), np.concatenate(labels), NEAR), TINY)

    @cached_property
    def dull(self) -> Floats:
        """Contrast below which an image is blank."""
        return DULL * self.limits(contrast(self.train), self.train.labels, 0.0)


def _purest(
    sure: Floats, right: NDArray[np.bool_], weight: NDArray[np.float64], wanted: float
) -> float:
    """The least value such that, of those that reach it, a share `wanted` is right; else the one of the largest share.

    Shares of fewer than OWN images, where there are more, are of chance.
    """
    order = np.argsort(-sure, kind="stable")
    values = sure[order]
    share = np.cumsum((weight * right)[order]) / np.cumsum(weight[order])
    last = np.append(values[1:] < values[:-1], True)  # equal values come in together
    last[: min(OWN, len(values)) - 1] = False
    values, share = values[last], share[last]
    enough = np.flatnonzero(share >= min(wanted, float(share.max())) - TINY)
    return float(values[enough[-1]])


def contrast(images: Embedded) -> Floats:
    """Standard deviation of each image's pixels, float32 (N,)."""
    found = np.empty(len(images), np.float32)
    for start in range(0, len(images), AT_ONCE):
        part = images.images[start : start + AT_ONCE].reshape(
            -1, int(np.prod(images.images.shape[1:]))
        )
        found[start : start + AT_ONCE] = part.astype(np.float32).std(1)
    return found


# real, what is judged, what was kept before (earlier rounds).
Check = Callable[[Reference, Embedded, Embedded], Judged]
checks: Registry[Check] = Registry("check")
check = checks.register


@check("blank")
def blank(real: Reference, made: Embedded, kept: Embedded) -> Judged:
    """Contrast of at least half of what the flattest train image of the class has."""
    values = contrast(made)
    return Judged(values, values >= real.dull[made.labels])


@check("agreement")
def agreement(real: Reference, made: Embedded, kept: Embedded) -> Judged:
    """The real-only classifier sees the class, as surely as all but `reject` of val's images, and surely enough."""
    values = made.probabilities[np.arange(len(made)), made.labels]
    limit = np.maximum(real.confident, real.pure)
    keep = (made.predicted == made.labels) & (values >= limit[made.labels])
    return Judged(values, keep)


@check("realism")
def realism(real: Reference, made: Embedded, kept: Embedded) -> Judged:
    """Within a train image's k-NN ball of the class, or as near to one as all but `reject` of val's images."""
    values = real.realism(made)
    return Judged(values, values >= real.real_enough[made.labels])


@check("copies")
def copies(real: Reference, made: Embedded, kept: Embedded) -> Judged:
    """No near copy of train: the nearest train image over the limit, in pixels and in features, is above 1."""
    gaps = real.to_train(made)
    values = np.minimum(*(gaps[name] / real.copy_limits[name][made.labels] for name in gaps))
    return Judged(values.astype(np.float32), values > 1)


@check("duplicates")
def duplicates(real: Reference, made: Embedded, kept: Embedded) -> Judged:
    """No near copy of a synthetic image that came before it: the nearest one over the limit is above 1."""
    values = np.full(len(made), np.inf, np.float32)
    for label in np.unique(made.labels):
        rows = np.flatnonzero(made.labels == label)
        before = kept.images[kept.labels == label]
        for start in range(0, len(rows), AT_ONCE):
            own = rows[start : start + AT_ONCE]
            images = made.images[own]
            gap = neighbours.nearest_earlier(images)
            if len(before):
                gap = np.minimum(gap, neighbours.nearest(images, before)[0][:, 0])
            values[own] = gap / real.twin_limits[label]
            before = np.concatenate([before, images])
    return Judged(values, values > 1)


@dataclass
class Curator:
    """Runs the checks over candidates as they are drawn, and remembers what was kept and how many passed."""

    options: Curation
    real: Reference
    embed: Callable[[NDArray[np.uint8], NDArray[np.int64]], Embedded]
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    passed: dict[tuple[str, int], int] = field(default_factory=dict)
    _kept: Embedded | None = None

    @property
    def rounds(self) -> int:
        """How often what is missing is drawn."""
        return self.options.rounds

    @property
    def oversample(self) -> float:
        """Candidates for one image that is missing, where all pass."""
        return self.options.oversample

    def judge(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Mapping[str, Floats]]:
        """Rows of the candidates that pass every check, and each check's values for them."""
        made = self.embed(images, labels)
        kept = self._kept if self._kept is not None else made.take(np.empty(0, np.int64))
        rows = np.arange(len(made))
        values: dict[str, Floats] = {}
        for name in self.options.checks:
            own = made.take(rows)
            judged = checks[name](self.real, own, kept)
            for label in np.unique(own.labels).tolist():
                of = own.labels == label
                self.seen[name, label] = self.seen.get((name, label), 0) + int(of.sum())
                passed = self.passed.get((name, label), 0)
                self.passed[name, label] = passed + int(judged.keep[of].sum())
            rows = rows[judged.keep]
            values = {key: old[judged.keep] for key, old in values.items()}
            values[name] = judged.values[judged.keep]
        return rows, values

    def keep(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Remember images that were taken: no later one may be nearly the same."""
        empty = np.empty((len(labels), 0), np.float32)
        new = Embedded(empty, empty, labels, images)
        self._kept = new if self._kept is None else self._kept.join(new)
