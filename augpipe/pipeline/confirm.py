"""The confirm stage: the two best arms by val are trained again with fresh seeds, until the result is clear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.comparison.decision import Confirmation, confirm_pair
from augpipe.comparison.finalists import Finalists
from augpipe.comparison.options import Confirm
from augpipe.core.store import load_table
from augpipe.pipeline.experiment import MOST_SEEDS, RESPLIT, Experiment
from augpipe.pipeline.graph import More
from augpipe.pipeline.outputs import absent_classes, counted_classes, metric_values, outputs, test_labels
from augpipe.pipeline.replicates import AS_SET, Explored, design
from augpipe.pipeline.runs import Runs

FIRST_LOOK: Final = 5  # replicates; every further look has twice as many
OFF: Final = "the run has no confirm stage (confirm: off)"

# Trains and scores the arms of an experiment (see `train_and_score`; the last argument: finished runs, or None): the
# new runs, and the arms that failed with the reasons.
Train = Callable[[Experiment, More, Runs | None], tuple[Runs, Mapping[str, str]]]


@dataclass(frozen=True)
class Confirmed:
    """A finished confirm stage.

    experiment: of the two arms and the baseline, with the fresh seeds of the generators. classifiers: generator's seed
    → seeds of its classifiers. outcomes: one for each look; the last one is the verdict's. scores: `arm,
    generator_seed, seed, split, metric, class, value`. seconds: of the whole stage. pooled: seeds of the explore stage
    that are replicates of this one, where validation had nothing to choose (see `pooled_seeds`).
    """

    finalists: Finalists
    experiment: Experiment
    classifiers: Mapping[int, Sequence[int]]
    runs: Runs
    outcomes: tuple[Confirmation, ...]
    planned: tuple[int, ...]  # replicates at each look, had none decided
    scores: pd.DataFrame
    seconds: float
    design: str = ""  # why so many generators and classifiers
    pooled: tuple[int, ...] = ()

    @property
    def outcome(self) -> Confirmation:
        """That of the last look."""
        return self.outcomes[-1]

    @property
    def winner(self) -> str | None:
        """The arm that the stage decided for; None if it is undecided.

        The arm with synthetic images if it is better, the other one if it is worse or equivalent, since it needs no
        generator.
        """
        decision = self.outcome.decision
        if decision == "undecided":
            return None
        return self.finalists.contender if decision == "better" else self.finalists.rival

    def figures(self) -> dict[str, float]:
        """The difference in points with its 95% interval and p, and how much was trained; for tracking."""
        names = ("difference", "low", "high", "p", "generators", "classifiers")
        return {name: float(getattr(self.outcome, name)) for name in names}

    def means(self, metric: str, name: str) -> dict[str, float]:
        """Mean of a class's test metric over all classifiers of each arm."""
        rows = self.scores[(self.scores.split == "test") & (self.scores.metric == metric)]
        rows = rows[rows["class"] == name]
        return {str(arm): float(of.value.mean()) for arm, of in rows.groupby("arm", sort=False)}

    def values(self) -> dict[str, NDArray[np.float64]]:
        """The comparison's metric on test of every classifier of each arm, (N,), in the order of `classifiers`."""
        prepared = next(iter(self.runs.prepared.values()))
        absent = absent_classes(prepared.counts["test"], prepared.classes)
        of = metric_values(self.scores, self.experiment.metric, "test", absent)
        return {str(arm): v.to_numpy() for arm, v in of.groupby("arm", sort=False).value}

    def levels(self) -> dict[str, float]:
        """Mean of the comparison's metric on test over all classifiers of each arm."""
        return {arm: float(values.mean()) for arm, values in self.values().items()}


@dataclass(frozen=True)
class NotConfirmed:
    """Why a run has no confirm stage, or why it could not end; failed: arm → reason."""

    reason: str
    failed: Mapping[str, str]


def fresh_seeds(seeds: Sequence[int], options: Confirm) -> dict[int, list[int]]:
    """Seeds of the confirm stage: generator's seed → seeds of its classifiers, the first of them the same.

    All are larger than every one of `seeds`, so none had a part in the choice of the arms. More replicates or
    classifiers add seeds and change none.
    """
    first = max(seeds) + 1
    classifiers = 1 if options.classifiers == "auto" else options.classifiers
    return {first + g: [first + g + r * MOST_SEEDS for r in range(classifiers)] for g in range(options.generators)}


def pooled_seeds(experiment: Experiment, chosen: Finalists) -> tuple[int, ...]:
    """Seeds of the explore stage that count as replicates of the confirm stage: all if nothing was chosen by them, else
    none.

    Nothing is chosen with two arms, one of them with a trained generator: the hypothesis stands before any training.
    With `classifiers: auto` the seeds choose how much is trained, and do not count. Nor do seeds so far apart that
    those of further classifiers could meet them.
    """
    options, seeds = experiment.confirm, experiment.seeds
    if options == "off" or len(experiment.arms) != 2 or chosen.missing:
        return ()
    more = max(0, options.generators - len(seeds))
    apart = max(seeds) - min(seeds) + more >= MOST_SEEDS
    return () if options.classifiers == "auto" or apart else tuple(seeds)


def replicates(experiment: Experiment, options: Confirm, pooled: Sequence[int]) -> dict[int, list[int]]:
    """Generator's seed → seeds of its classifiers, of all replicates: the pooled ones, then fresh ones."""
    of_first = 1 if options.classifiers == "auto" else options.classifiers
    first = {seed: [seed + r * MOST_SEEDS for r in range(of_first)] for seed in pooled}
    fresh = fresh_seeds(experiment.seeds, options)
    count = max(0, options.generators - len(pooled))
    return {**first, **dict(list(fresh.items())[:count])}


def further(arms: Sequence[str], fresh: Mapping[int, Sequence[int]], seeds: Sequence[int]) -> More:
    """The classifiers of these arms beyond the first on each generator; the baseline, as context, has one."""
    return {(arm, seed): fresh[seed][1:] for arm in arms for seed in seeds}


def looks(options: Confirm, pooled: int = 0) -> tuple[int, ...]:
    """Numbers of replicates after which the result is looked at; pooled: replicates that are trained already."""
    last = max(options.generators, pooled)
    return (*(n for n in _before(options) if pooled <= n < last), last)


def _before(options: Confirm) -> Iterator[int]:
    replicates = FIRST_LOOK
    while options.until == "decided" and replicates < options.generators:
        yield replicates
        replicates *= 2


def unconfirmed(experiment: Experiment, chosen: Finalists) -> str:
    """Why the experiment has no confirm stage; "" if it has one."""
    if experiment.confirm == "off":
        return OFF
    return RESPLIT if experiment.resplit else chosen.missing


def stage(experiment: Experiment, arms: Sequence[str], seeds: Sequence[int]) -> Experiment:
    """The experiment with these arms, in their order, the generators that they use, and these seeds."""
    remaining = tuple(arm for arm in experiment.arms if arm.name in arms)
    used = {name for arm in remaining for name in arm.generators}
    generators = {name: experiment.generators[name] for name in experiment.generators if name in used}
    values = {"arms": remaining, "generators": generators, "seeds": tuple(seeds)}
    return experiment.model_copy(update=values)


def confirm(
    experiment: Experiment,
    chosen: Finalists,
    train: Train,
    report: Callable[[str], None] = lambda line: None,
    measured: Explored | None = None,
    first: Runs | None = None,
) -> Confirmed | NotConfirmed:
    """Train the finalists, and the baseline for context, with fresh seeds, look by look until the result is clear.

    chosen: by val, in the explore stage. report: a line before each part of the stage. measured: for `classifiers:
    auto`. first: runs of the explore stage, which count where nothing was chosen by them (see `pooled_seeds`).
    """
    reason = unconfirmed(experiment, chosen)
    options, start = experiment.confirm, time.perf_counter()
    if reason or options == "off" or chosen.contender is None or chosen.rival is None:
        return NotConfirmed(reason, {})
    options, why = design(options, chosen, measured)
    if why != AS_SET:
        report(f"confirm: {why}")
    finalists = (chosen.contender, chosen.rival)
    arms: tuple[str, ...] = (*finalists, experiment.baseline)
    pooled = pooled_seeds(experiment, chosen) if first is not None else ()
    every = replicates(experiment, options, pooled)
    seeds, planned = list(every), looks(options, len(pooled))
    runs = _of_seeds(first, pooled) if first is not None and pooled else Runs({})
    outcomes = list[Confirmation]()
    for done, count in zip((0, *planned), planned, strict=False):
        part = seeds[done:count]
        report(_announced(chosen, part, pooled))
        more, known = further(finalists, every, part), runs if pooled and not done else None
        new: Runs = Runs({})
        failed: Mapping[str, str] = {}
        if any(more.values()) or not set(part) <= set(pooled):
            new, failed = train(stage(experiment, arms, part), more, known)
        if lost := {arm: why for arm, why in failed.items() if arm in finalists}:
            names = ", ".join(repr(arm) for arm in lost)
            return NotConfirmed(f"the confirm stage failed for {names}", lost)
        arms = tuple(arm for arm in arms if arm not in failed)  # the baseline is only context
        runs = merged(runs, new)
        trained = {seed: every[seed] for seed in seeds[:count]}
        outcomes.append(_look(experiment, runs, chosen, trained, planned, options.margin))
        if outcomes[-1].decision != "undecided":
            break
    ran = stage(experiment, arms, list(trained))
    scores, seconds = _scores(ran, runs, trained), time.perf_counter() - start
    return Confirmed(chosen, ran, trained, runs, tuple(outcomes), planned, scores, seconds, why, pooled)


def _announced(chosen: Finalists, seeds: Sequence[int], pooled: Sequence[int]) -> str:
    span = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    pair = f"confirm: {chosen.contender!r} against {chosen.rival!r}"
    if pooled:
        return f"{pair}, the only two arms, so that no seed was used to choose them, with {span}"
    return f"{pair}, both chosen by val, with fresh {span}"


def _of_seeds(runs: Runs, seeds: Sequence[int]) -> Runs:
    """The runs of these seeds, without the generators' fidelity."""
    return Runs(
        {seed: runs.prepared[seed] for seed in seeds},
        {seed: run for seed, run in runs.references.items() if seed in seeds},
        {key: run for key, run in runs.generators.items() if key[1] in seeds},
        {key: run for key, run in runs.arms.items() if key[1] in seeds},
    )


def merged(runs: Runs, more: Runs) -> Runs:
    """The runs of both."""
    return Runs(
        {**runs.prepared, **more.prepared},
        {**runs.references, **more.references},
        {**runs.generators, **more.generators},
        {**runs.arms, **more.arms},
    )


def _look(
    experiment: Experiment,
    runs: Runs,
    chosen: Finalists,
    trained: Mapping[int, Sequence[int]],
    planned: Sequence[int],
    margin: float,
) -> Confirmation:
    metric = experiment.metric
    contender, rival = (outputs(runs, str(arm), trained, metric) for arm in (chosen.contender, chosen.rival))
    truth, groups = test_labels(runs)
    return confirm_pair(
        contender,
        rival,
        truth,
        groups,
        metric=metric,
        margin=margin,
        looks=planned,
        classes=counted_classes(metric, next(iter(runs.prepared.values()))),
    )


def _scores(experiment: Experiment, runs: Runs, trained: Mapping[int, Sequence[int]]) -> pd.DataFrame:
    tables = []
    for arm in experiment.arms:
        for generator_seed, seeds in trained.items():
            for seed in seeds:
                run = runs.arms.get((arm.name, seed))
                if run is None or run.scored is None:
                    continue
                table = load_table(run.scored.table)
                for at, (name, value) in enumerate(
                    (("arm", arm.name), ("generator_seed", generator_seed), ("seed", seed))
                ):
                    table.insert(at, name, value)
                tables.append(table)
    return pd.concat(tables, ignore_index=True)
