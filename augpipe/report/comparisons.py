"""The comparison of all arms of the first look, from the stored predictions of their classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from augpipe.comparison import by_metric, resampled
from augpipe.comparison.explore import Comparison, compare_arms
from augpipe.comparison.metrics import Outputs
from augpipe.comparison.pairs import Compared, every_pair
from augpipe.comparison.units import Units
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.outputs import counted_classes
from augpipe.pipeline.runs import Runs
from augpipe.report.results import ArmResult


def compared_arms(
    experiment: Experiment,
    runs: Runs,
    outputs: Mapping[str, Sequence[Outputs]],
    units: Sequence[Units],
    val: pd.DataFrame,
    arms: Sequence[ArmResult],
) -> Comparison:
    """For a fixed split, the bootstrap over seeds and test images (macro recall) or the error model of paired
    differences; the resampled t-test if each seed has its own split. val: see `metric_values`."""
    metric, seeds, baseline = experiment.metric, experiment.seeds, experiment.baseline
    on_val = {str(name): float(of.mean()) for name, of in val.groupby("arm").value}
    generative = {result.arm.name: result.generative for result in arms}
    classes = [counted_classes(metric, runs.prepared[seed]) for seed in seeds]
    if experiment.resplit:
        labels = [unit.labels for unit in units]
        values = resampled.estimates(outputs, labels, metric, classes)
        train = sum(runs.prepared[seeds[0]].counts["train"].values())
        ratio = max(len(y) for y in labels) / train
        return resampled.compare_over_splits(values, units, ratio, on_val, generative, baseline, metric)
    if metric != "macro_recall":
        paired = {arm: np.stack(of)[:, None] for arm, of in outputs.items()}
        return by_metric.compare_by_metric(paired, units[0], metric, classes[0], on_val, generative, baseline)
    correct = {arm: np.stack(of) == units[0].labels for arm, of in outputs.items()}
    return compare_arms(correct, units[0], on_val, generative, baseline)


def every_pair_of(
    experiment: Experiment, runs: Runs, outputs: Mapping[str, Sequence[Outputs]], units: Sequence[Units]
) -> pd.DataFrame:
    """Every arm against every other; none if each seed has its own split, where test units are not shared."""
    metric, first = experiment.metric, runs.prepared[experiment.seeds[0]]
    arms = {} if experiment.resplit else {arm: np.stack(of)[:, None] for arm, of in outputs.items()}
    return every_pair(arms, units[0], Compared(metric, counted_classes(metric, first)))
