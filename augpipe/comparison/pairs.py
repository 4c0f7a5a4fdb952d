"""Every arm against every other, with intervals that hold for all pairs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import pandas as pd

from augpipe.comparison.bootstrap import LEVEL
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.options import Metric
from augpipe.comparison.paired import difference
from augpipe.comparison.simultaneous import simultaneous
from augpipe.comparison.units import Units

COLUMNS: Final = ("arm", "reference", "metric", "difference", "low", "high", "p", "low_joint", "high_joint", "p_joint")


@dataclass(frozen=True)
class Compared:
    """What all pairs are compared in; classes: those that the metric is restricted to, empty for all."""

    metric: Metric
    classes: Sequence[int] = ()


def every_pair(outputs: Mapping[str, Outputs], units: Units, compared: Compared) -> pd.DataFrame:
    """A row a pair of arms, the second minus the first in the order of `outputs`, in points on test.

    outputs: arm → (S,1,N) predicted classes of each seed, or (S,1,N,K) probabilities for `macro_auc`. Columns: COLUMNS.
    low, high, p: 95% interval and p of the pair alone; `_joint`: of all pairs together (see `simultaneous`).
    """
    pairs = list(combinations(outputs, 2))
    family = [
        difference(
            outputs[arm], outputs[reference], units, compared.metric, compared.classes, name=f"{arm}\x1f{reference}"
        )
        for reference, arm in pairs
    ]
    rows = [
        (arm, reference, compared.metric, one.mean, *one.interval(1 - LEVEL), one.p, joint.low, joint.high, joint.p)
        for (reference, arm), one, joint in zip(pairs, family, simultaneous(family, units), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
