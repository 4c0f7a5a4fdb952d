"""The comparison of all arms in any metric, with the error model of paired differences (see `paired`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from augpipe.comparison.bootstrap import LEVEL, Gain, Interval, sign_flip
from augpipe.comparison.explore import Comparison, clip_to_unit, conclude, with_verdicts
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.options import Metric
from augpipe.comparison.paired import Difference, difference, level
from augpipe.comparison.units import Units


def compare_by_metric(
    outputs: Mapping[str, Outputs],
    units: Units,
    metric: Metric,
    classes: Sequence[int],
    val: Mapping[str, float],
    generative: Mapping[str, bool],
    baseline: str,
) -> Comparison:
    """As `explore.compare_arms`, in a metric of `metrics.score`.

    outputs: arm → (S,1,N) predicted classes of each seed, or (S,1,N,K) probabilities for `macro_auc`. classes: those
    that the metric is restricted to. val: arm → its mean on val.
    """
    levels = {arm: clip_to_unit(_fractions(level(of, units, metric, classes))) for arm, of in outputs.items()}

    def against(reference: str) -> list[Gain]:
        family = [
            difference(outputs[arm], outputs[reference], units, metric, classes, name=arm)
            for arm in outputs
            if arm != reference
        ]
        return with_verdicts([_gain(pair, reference) for pair in family], family, units)

    return conclude(levels, against, val, generative, baseline, metric)


def _fractions(estimate: Difference) -> Interval:
    """An estimate in points → its interval as fractions."""
    low, high = estimate.interval(1 - LEVEL)
    return Interval(estimate.mean / 100, low / 100, high / 100, estimate.error / 100, estimate.df)


def _gain(pair: Difference, reference: str) -> Gain:
    """A difference as a gain, without correction and verdict."""
    per_seed = pair.values.mean(1) / 100
    spread = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else 0.0
    effect = pair.mean / 100 / spread if spread > 1e-12 else float("nan")
    estimate, p = _fractions(pair), pair.p
    flipped = sign_flip(np.asarray(per_seed))
    return Gain(pair.name, reference, estimate, p, p, effect, "no difference shown", None, flipped)
