"""Origin as a shortcut to the class: where some classes have more synthetic images than others, a classifier that sees
the generator's traces can guess the class from them, and real test images have none.

The figure is how well real and synthetic images can be distinguished, times the mutual information of origin and class
in what the classifier is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.synthetic.options import SHORTCUT

CHANCE: Final = 0.5  # accuracy of c2st where real and synthetic are indistinguishable


@dataclass(frozen=True)
class Shortcut:
    """detected: how well origin can be recognised, 0 (chance) to 1. information: mutual information of origin and class
    in bits, 0 (equal fractions) to 1."""

    detected: float
    information: float

    @property
    def bits(self) -> float:
        """What origin gives away of the class, in bits, 0 to 1."""
        return self.detected * self.information


def shortcut(probability: Sequence[float], share: Sequence[float], c2st: float) -> Shortcut:
    """probability: of each class in the training items. share: synthetic fraction of each class. c2st: accuracy of real
    against synthetic; NaN if it was not measured, and so is `detected`.
    """
    detected = float(np.clip((c2st - CHANCE) / CHANCE, 0, 1))
    return Shortcut(detected, mutual_information(probability, share))


def shortcut_of_counts(real: Sequence[int], synthetic: Sequence[int], c2st: float) -> Shortcut:
    """The shortcut of a set of images in which each counts once; counts by class."""
    both = np.array(real, float) + np.array(synthetic, float)
    return shortcut((both / max(1.0, both.sum())).tolist(), (synthetic / np.maximum(both, 1)).tolist(), c2st)


def mutual_information(probability: Sequence[float], share: Sequence[float]) -> float:
    """I(O;C) = H(O) - H(O|C) in bits of origin O (real or synthetic) and class C (Cover & Thomas 2006, 2.39)."""
    p, s = np.array(probability, float), np.array(share, float)
    return max(0.0, float(_entropy(np.array([p @ s]))[0] - p @ _entropy(s)))


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of two outcomes in bits, with 0 log 0 = 0."""
    both = np.stack([p, 1 - p])
    logs = np.log2(np.where(both > 0, both, 1.0))
    total: NDArray[np.float64] = -(both * logs).sum(0)
    return total


def shortcut_row(one: Shortcut | None) -> pd.DataFrame:
    """The row of a fidelity table (see `fidelity.COLUMNS`); None: no arm shows images of the generator."""
    note = "no arm shows its images" if one is None else "" if np.isfinite(one.bits) else "needs c2st"
    value = float("nan") if one is None else one.bits
    return pd.DataFrame(
        [{"class": "", "metric": SHORTCUT, "value": value, "n_real": 0, "n_synthetic": 0, "note": note}]
    )
