"""Decide whether a new model replaces the one in service: two fixed models on one test set that neither has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.bootstrap import LEAST_IMAGES, LEVEL, Interval, interval
from augpipe.comparison.options import Promotion
from augpipe.comparison.units import Units
from augpipe.core.errors import several
from augpipe.core.images import ImageSet, pixel_digests

Predictions = NDArray[np.int64]  # (N,), the class that a model predicts for each test image


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is promoted, and the reason. interval: of its gain, None if it was not computed."""

    promote: bool
    reason: str
    interval: Interval | None


def fingerprints(images: ImageSet) -> NDArray[np.uint64]:
    """BLAKE2b of each image's pixels, 64 bits (N,)."""
    return pixel_digests(images.images, words=1)[:, 0]


def unseen(test: ImageSet, seen: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows of `test` whose pixels are not among `seen`: fingerprints of images that trained or selected a model."""
    return np.flatnonzero(~np.isin(fingerprints(test), seen)).astype(np.int64)


def _least(gain: NDArray[np.float64], units: Units) -> float:
    """Lower end of the gain in macro recall by adjusted Wald intervals of paired proportions (Agresti & Min 2005).

    Half an image is added to each of the four outcomes of a pair, in every class: an outcome with count 0 may still
    occur. Images of one group count as one, because they may be correlated.
    """
    mean, variance = 0.0, 0.0
    for c, groups in units.of_class.items():
        of_class = gain[units.labels == c]
        n = groups + 2
        up, down = groups * (of_class > 0).mean() + 0.5, groups * (of_class < 0).mean() + 0.5
        mean += (up - down) / n
        variance += ((up + down) - (up - down) ** 2 / n) / n**2
    k = len(units.of_class)
    return float(mean / k - stats.norm.ppf(0.5 + LEVEL / 2) * np.sqrt(variance) / k)


def decision(champion: Predictions, challenger: Predictions, units: Units, options: Promotion) -> Decision:
    """Compare two fixed models by macro recall, paired over test images resampled within their class, as whole groups.

    The models are fixed, so that the interval has no variance between seeds: the question is which of these two is
    better.
    """
    labels = units.labels
    if units.least < LEAST_IMAGES:
        smallest = several(math.floor(units.least), "group" if units.grouped else "test image")
        return Decision(
            False,
            f"too few test images that the champion has not seen: {smallest} in the smallest class, "
            f"at least {LEAST_IMAGES} are needed",
            None,
        )
    gain = (challenger == labels).astype(np.float64) - (champion == labels)
    estimate = interval(gain[None], units)
    # If two models hardly differ, resampling their few differences underestimates the variance.
    estimate = replace(estimate, low=min(estimate.low, _least(gain, units)))
    if options.rule == "better":
        promote, wanted = bool(estimate.low > 0), "better"
    else:
        promote = bool(estimate.low > -options.margin)
        wanted = f"not worse by {100 * options.margin:g} points"
        if not promote and _least(np.zeros_like(gain), units) <= -options.margin:
            wanted += ", which so few test images cannot show"
    figures = (
        f"{100 * estimate.mean:+.1f} points of macro recall over the champion ({100 * LEVEL:.0f}% interval "
        f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}, {several(len(labels), 'test image')})"
    )
    return Decision(promote, f"{'shown' if promote else 'not shown'} to be {wanted}: {figures}", estimate)
