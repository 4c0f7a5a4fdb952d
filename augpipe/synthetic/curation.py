"""Curation: @check functions that decide which synthetic images may enter a training set.

Checks run in order; each sees the images that passed the one before. A threshold is a quantile per class of what real
held-out images (val) reach, so that a check rejects real images at a known rate. Thresholds use train and val only.
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
from augpipe.synthetic import views
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.options import Curation

Floats = NDArray[np.float32]
KNN: Final = 3  # neighbours that span the real manifold (Kynkäänniemi et al. 2019)
# A class with fewer images gets the threshold of all classes together.
MIN_CLASS_IMAGES: Final = 20
# Quantile of the distances of real images to train (to each other) below which an image counts as a copy.
NEAR: Final = 0.01
DULL: Final = 0.5  # fraction of the lowest contrast in train below which an image is blank
AT_ONCE: Final = 1024  # images per chunk
TINY: Final = 1e-6


class CheckResult(NamedTuple):
    """The result of a check. values: float32 (N,), what it measured. keep: bool (N,), whether an image passed."""

    values: Floats
    keep: NDArray[np.bool_]


class Reference:
    """Real images that synthetic ones are compared with; thresholds are computed on first use."""

    def __init__(self, train: Embedded, val: Embedded, reject: float, purity: float | None = None) -> None:
        self.train, self.val, self.reject, self.purity = train, val, reject, purity
        self.classes = train.probabilities.shape[1]

    def limits(self, values: Floats, labels: NDArray[np.int64], quantile: float) -> Floats:
        """The given quantile of the finite values per class, float32 (K,).

        Classes with fewer than MIN_CLASS_IMAGES values get the quantile of all values.
        """
        finite = np.isfinite(values)
        values, labels = values[finite], labels[finite]
        overall = np.quantile(values, quantile) if len(values) else 0.0
        limits = np.full(self.classes, overall, np.float32)
        for label in np.unique(labels):
            class_values = values[labels == label]
            if len(class_values) >= MIN_CLASS_IMAGES:
                limits[label] = np.quantile(class_values, quantile)
        return limits

    @cached_property
    def train_by_class(self) -> dict[int, Embedded]:
        """Train images by class."""
        return {label: self.train.of(label) for label in range(self.classes)}

    @cached_property
    def confident(self) -> Floats:
        """Minimum probability of the image's class, float32 (K,):
        the `reject` quantile over correctly classified val images.
        """
        p = self.val.probabilities[np.arange(len(self.val)), self.val.labels]
        right = self.val.predicted == self.val.labels
        return self.limits(p[right], self.val.labels[right], self.reject)

    @cached_property
    def pure(self) -> Floats:
        """Minimum probability at which a fraction `purity` of the val images predicted as a class are of it, float32
        (K,).

        Classes are weighted equally, whatever their size, because a generator's mistakes do not follow class
        frequencies. A class with too few correct val predictions gets the threshold of all classes together. If no
        threshold reaches `purity`, the one with the highest precision is used.
        """
        if self.purity is None or len(self.val) == 0:
            return np.zeros(self.classes, np.float32)
        predicted, confidence = self.val.predicted, self.val.probabilities.max(1)
        right = predicted == self.val.labels
        weight = 1 / np.bincount(self.val.labels, minlength=self.classes)[self.val.labels]
        limits = np.full(self.classes, _purest(confidence, right, weight, self.purity), np.float32)
        for label in range(self.classes):
            of_label = predicted == label
            if (of_label & right).sum() >= MIN_CLASS_IMAGES:
                limits[label] = _purest(confidence[of_label], right[of_label], weight[of_label], self.purity)
        return limits

    @cached_property
    def radii(self) -> dict[int, Floats]:
        """Distance of each train image to its KNN-th nearest neighbour in its class; empty for a class of one image."""
        return {
            label: neighbours.radii(images.vectors, min(KNN, len(images) - 1))
            if len(images) > 1
            else np.empty(0, np.float32)
            for label, images in self.train_by_class.items()
        }

    @cached_property
    def real_enough(self) -> Floats:
        """Minimum realism score, float32 (K,): the `reject` quantile of val images, at most 1 (inside the manifold)."""
        return np.minimum(1.0, self.limits(self.realism(self.val), self.val.labels, self.reject)).astype(np.float32)

    def realism(self, images: Embedded) -> Floats:
        """Realism score of each image within its class (Kynkäänniemi et al. 2019, eq. 4); inf if undefined."""
        scores = np.full(len(images), np.inf, np.float32)
        for label in np.unique(images.labels):
            rows, radius = np.flatnonzero(images.labels == label), self.radii[int(label)]
            if len(radius):
                points = self.train_by_class[int(label)].vectors
                scores[rows] = neighbours.reach(images.vectors[rows], points, radius)
        return scores

    def to_train(self, images: Embedded) -> dict[str, Floats]:
        """Distance of each image to the nearest train image of its class, in features and in pixels; inf without one.

        In pixels, a picture that is shifted by a pixel or mirrored is the same one (see `views`).
        """
        distances = {name: np.full(len(images), np.inf, np.float32) for name in ("features", "pixels")}
        for label in np.unique(images.labels):
            rows, train = np.flatnonzero(images.labels == label), self.train_by_class[int(label)]
            if len(train) == 0:
                continue
            near = neighbours.nearest(images.vectors[rows], train.vectors)[0]
            distances["features"][rows] = near[:, 0]
            distances["pixels"][rows] = views.nearest(images.images[rows], train.images)[0][:, 0]
        return distances

    @cached_property
    def copy_limits(self) -> dict[str, Floats]:
        """Distance below which an image is a near copy of a train image."""
        distances = self.to_train(self.val)
        return {name: np.maximum(self.limits(gap, self.val.labels, NEAR), TINY) for name, gap in distances.items()}

    @cached_property
    def twin_limits(self) -> Floats:
        """Pixel distance below which two images of a class are duplicates, float32 (K,): the NEAR quantile in train."""
        gaps, labels = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        for label, images in self.train_by_class.items():
            if len(images) > 1:
                gaps.append(neighbours.radii(images.images, 1))
                labels.append(np.full(len(images), label))
        return np.maximum(self.limits(np.concatenate(gaps), np.concatenate(labels), NEAR), TINY)

    @cached_property
    def dull(self) -> Floats:
        """Contrast below which an image is blank, float32 (K,)."""
        return DULL * self.limits(contrast(self.train), self.train.labels, 0.0)


def _purest(confidence: Floats, right: NDArray[np.bool_], weight: NDArray[np.float64], purity: float) -> float:
    """The lowest threshold at which the weighted precision reaches `purity`; else the one with the highest precision.

    Precision over fewer than MIN_CLASS_IMAGES images is ignored, unless there are no more: it is too noisy.
    """
    order = np.argsort(-confidence, kind="stable")
    values = confidence[order]
    precision = np.cumsum((weight * right)[order]) / np.cumsum(weight[order])
    last = np.append(values[1:] < values[:-1], True)  # equal values pass together
    last[: min(MIN_CLASS_IMAGES, len(values)) - 1] = False
    values, precision = values[last], precision[last]
    enough = np.flatnonzero(precision >= min(purity, float(precision.max())) - TINY)
    return float(values[enough[-1]])


def contrast(images: Embedded) -> Floats:
    """Standard deviation of each image's pixels, float32 (N,)."""
    values = np.empty(len(images), np.float32)
    for start in range(0, len(images), AT_ONCE):
        chunk = images.images[start : start + AT_ONCE].reshape(-1, int(np.prod(images.images.shape[1:])))
        values[start : start + AT_ONCE] = chunk.astype(np.float32).std(1)
    return values


# Arguments: real reference, candidates, images accepted in earlier rounds.
Check = Callable[[Reference, Embedded, Embedded], CheckResult]
checks: Registry[Check] = Registry("check")
check = checks.register


@check("blank")
def blank(real: Reference, synthetic: Embedded, accepted: Embedded) -> CheckResult:
    """Contrast of at least half that of the flattest train image of the class."""
    values = contrast(synthetic)
    return CheckResult(values, values >= real.dull[synthetic.labels])


@check("agreement")
def agreement(real: Reference, synthetic: Embedded, accepted: Embedded) -> CheckResult:
    """The real-only classifier predicts the class with at least the probability that `reject` and `purity` require."""
    values = synthetic.probabilities[np.arange(len(synthetic)), synthetic.labels]
    limit = np.maximum(real.confident, real.pure)
    keep = (synthetic.predicted == synthetic.labels) & (values >= limit[synthetic.labels])
    return CheckResult(values, keep)


@check("realism")
def realism(real: Reference, synthetic: Embedded, accepted: Embedded) -> CheckResult:
    """Inside the k-NN ball of a train image of the class, or nearer to one than the `reject` quantile of val images."""
    values = real.realism(synthetic)
    return CheckResult(values, values >= real.real_enough[synthetic.labels])


@check("copies")
def copies(real: Reference, synthetic: Embedded, accepted: Embedded) -> CheckResult:
    """No near copy of train: distance to the nearest train image over its limit is above 1
    in pixels and in features.
    """
    gaps = real.to_train(synthetic)
    values = np.minimum(*(gaps[name] / real.copy_limits[name][synthetic.labels] for name in gaps))
    return CheckResult(values.astype(np.float32), values > 1)


@check("duplicates")
def duplicates(real: Reference, synthetic: Embedded, accepted: Embedded) -> CheckResult:
    """No near copy of an earlier synthetic image: distance to the nearest one over its limit is above 1."""
    values = np.full(len(synthetic), np.inf, np.float32)
    for label in np.unique(synthetic.labels):
        rows = np.flatnonzero(synthetic.labels == label)
        before = accepted.images[accepted.labels == label]
        for start in range(0, len(rows), AT_ONCE):
            chunk = rows[start : start + AT_ONCE]
            images = synthetic.images[chunk]
            gap = neighbours.nearest_earlier(images)
            if len(before):
                gap = np.minimum(gap, neighbours.nearest(images, before)[0][:, 0])
            values[chunk] = gap / real.twin_limits[label]
            before = np.concatenate([before, images])
    return CheckResult(values, values > 1)


@dataclass
class Curator:
    """Run the checks over candidates as they are drawn; count how many pass and keep the accepted images.

    seen, passed: (check, class) → number of candidates.
    """

    options: Curation
    real: Reference
    embed: Callable[[NDArray[np.uint8], NDArray[np.int64]], Embedded]
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    passed: dict[tuple[str, int], int] = field(default_factory=dict)
    _accepted: Embedded | None = None

    @property
    def rounds(self) -> int:
        """Maximum number of rounds in which missing images are drawn."""
        return self.options.rounds

    @property
    def oversample(self) -> float:
        """Candidates drawn per missing image if all pass."""
        return self.options.oversample

    def check(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Mapping[str, Floats]]:
        """Rows of the candidates that pass every check, and the values of each check for these rows."""
        candidates = self.embed(images, labels)
        accepted = self._accepted if self._accepted is not None else candidates.take(np.empty(0, np.int64))
        rows = np.arange(len(candidates))
        values: dict[str, Floats] = {}
        for name in self.options.checks:
            remaining = candidates.take(rows)
            result = checks[name](self.real, remaining, accepted)
            for label in np.unique(remaining.labels).tolist():
                of_label = remaining.labels == label
                self.seen[name, label] = self.seen.get((name, label), 0) + int(of_label.sum())
                passed = self.passed.get((name, label), 0)
                self.passed[name, label] = passed + int(result.keep[of_label].sum())
            rows = rows[result.keep]
            values = {key: old[result.keep] for key, old in values.items()}
            values[name] = result.values[result.keep]
        return rows, values

    def keep(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Record accepted images: `duplicates` rejects near copies of them later."""
        empty = np.empty((len(labels), 0), np.float32)
        new = Embedded(empty, empty, labels, images)
        self._accepted = new if self._accepted is None else self._accepted.join(new)
