"""How many generators, and how many classifiers on each, the confirm stage trains:
from what the explore stage measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.comparison.allocation import Cost, allocate, explore_variances
from augpipe.comparison.finalists import Finalists
from augpipe.comparison.options import Confirm
from augpipe.core.store import load_table
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.outputs import absent_classes, metric_values
from augpipe.pipeline.runs import ArmRun, Runs

MEASURED_SEEDS: Final = 2  # that show a variance
AS_SET: Final = "as the config says"


@dataclass(frozen=True)
class Explored:
    """What the explore stage measured. scores: arm → metric of each seed on val in points, (S,), since test has no part
    in how much is trained. seconds: arm → mean seconds of its generators with their images, and of one classifier."""

    scores: Mapping[str, NDArray[np.float64]]
    seconds: Mapping[str, tuple[float, float]]
    generative: Mapping[str, bool]


def explored(experiment: Experiment, runs: Runs, generative: Mapping[str, bool]) -> Explored:
    """The measurements of finished runs; generative: whether an arm was trained with images of a trained generator."""
    by_arm = {arm.name: [runs.arms[arm.name, seed] for seed in experiment.seeds] for arm in experiment.arms}
    return Explored(
        {name: np.array([_score(experiment, run) for run in of]) for name, of in by_arm.items()},
        {name: _seconds(runs, of) for name, of in by_arm.items()},
        generative,
    )


def _score(experiment: Experiment, run: ArmRun) -> float:
    if run.scored is None:
        raise ValueError(f"arm {run.arm.name!r}, seed {run.seed} was not scored")
    table = load_table(run.scored.table).assign(arm=run.arm.name, seed=run.seed)
    absent = absent_classes(run.prepared.counts["val"], run.prepared.classes)
    return 100 * float(metric_values(table, experiment.metric, "val", absent).value.iloc[0])


def _seconds(runs: Runs, of: list[ArmRun]) -> tuple[float, float]:
    generators, classifiers = list[float](), list[float]()
    for run in of:
        seconds = [runs.generators[name, run.seed].trained.time.seconds for name in run.arm.generators]
        drawn = run.synthetic.time.seconds if run.synthetic is not None else 0.0
        generators.append(sum(seconds) + drawn)
        classifiers.append(sum(one.time.seconds for one in (run.base, run.classifier) if one is not None))
    return float(np.mean(generators)), float(np.mean(classifiers))


def design(options: Confirm, chosen: Finalists, measured: Explored | None) -> tuple[Confirm, str]:
    """The options with numbers in place of `auto`, and a sentence on why; arms are trained for as long in all as with
    the given generators and one classifier on each.

    With fewer than MEASURED_SEEDS seeds no variance is known, and each generator gets one classifier.
    """
    if options.classifiers != "auto":
        return options, AS_SET
    single = options.model_copy(update={"classifiers": 1})
    contender, rival = str(chosen.contender), str(chosen.rival)
    if measured is None or len(measured.scores[contender]) < MEASURED_SEEDS:
        return (single, "one classifier on each generator: the explore stage's one seed shows no variance")
    variances = explore_variances(measured.scores, measured.generative, contender, rival)
    (of_contender, first), (of_rival, second) = (measured.seconds[arm] for arm in (contender, rival))
    cost = Cost(of_contender + of_rival, (first + second) / 2)
    plan = allocate(variances, cost, cost.of(options.generators, 1), (3, options.generators))
    numbers = {"generators": plan.generators, "classifiers": plan.classifiers}
    return options.model_copy(update=numbers), plan.reason
