"""Whether a new model takes the place of the one in service: two fixed models on one test set that neither has seen."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augpipe.comparison.bootstrap import LEAST_IMAGES, LEVEL, Interval, interval
from augpipe.comparison.options import Promotion
from augpipe.comparison.units import Units
from augpipe.core.errors import several
from augpipe.core.images import ImageSet

Said = NDArray[np.int64]  # (N,), what a model took each test image for


@dataclass(frozen=True)
class Judgement:
    """Whether the challenger takes over, and why or why not; interval: of its gain, None where there is none."""

    promote: bool
    reason: str
    interval: Interval | None


def fingerprints(images: ImageSet) -> NDArray[np.uint64]:
    """BLAKE2b of each image's pixels, 64 bits (N,)."""
    found = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images.images]
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64)


def unseen(test: ImageSet, seen: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows of `test` whose pixels are none of those that a model has learned from or was chosen by."""
    return np.flatnonzero(~np.isin(fingerprints(test), seen)).astype(np.int64)


def _least(gain: NDArray[np.float64], units: Units) -> float:
    """Lower end of the gain in macro recall by adjusted Wald intervals of paired proportions (Agresti & Min 2005).

    Half an image is added to each of the four outcomes of a pair, in every class: what was never seen may still be. Images
    of one group count as one: they may well be alike.
    """
    mean, variance = 0.0, 0.0
    for c, groups in units.of_class.items():
        own = gain[units.labels == c]
        n = groups + 2
        up, down = groups * (own > 0).mean() + 0.5, groups * (own < 0).mean() + 0.5
        mean += (up - down) / n
        variance += ((up + down) - (up - down) ** 2 / n) / n**2
    k = len(units.of_class)
    return float(mean / k - stats.norm.ppf(0.5 + LEVEL / 2) * np.sqrt(variance) / k)


def judge(
    champion: Said,
    challenger: Said,
    units: Units,
    options: Promotion,
    rng: np.random.Generator,
) -> Judgement:
    """Compare two fixed models by macro recall, paired over test images drawn anew within their class, groups as a whole.

    The models are what they are, so that no luck of seeds is in the interval: which of these two is better?
    """
    labels = units.labels
    if units.least < LEAST_IMAGES:
        least = several(math.floor(units.least), "group" if units.grouped else "test image")
        return Judgement(
            False,
            f"too few test images that the champion has not seen: {least} in the smallest class, "
            f"at least {LEAST_IMAGES} are needed",
            None,
        )
    gain = (challenger == labels).astype(np.float64) - (champion == labels)
    found = interval(gain[None], units, rng)
    # Where two models hardly differ, drawing their few differences anew says that they always differ so.
    found = replace(found, low=min(found.low, _least(gain, units)))
    if options.rule == "better":
        promote, wanted = bool(found.low > 0), "better"
    else:
        promote = bool(found.low > -options.margin)
        wanted = f"not worse by {100 * options.margin:g} points"
        if not promote and _least(np.zeros_like(gain), units) <= -options.margin:
            wanted += ", which so few test images cannot show"
    told = (
        f"{100 * found.mean:+.1f} points of macro recall over the champion ({100 * LEVEL:.0f}% interval "
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}, {several(len(labels), 'test image')})"
    )
    return Judgement(
        promote, f"{'shown' if promote else 'not shown'} to be {wanted}: {told}", found
    )
