"""The confirm stage: the two best arms by val are trained again with fresh seeds, until the result is clear."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.comparison.confirm import Confirmation
from augpipe.comparison.confirm import confirm as confirm_pair
from augpipe.comparison.finalists import Finalists
from augpipe.comparison.options import Confirm
from augpipe.core.store import load_images, load_state, load_table
from augpipe.pipeline.compare import More, Runs
from augpipe.pipeline.experiment import MOST_SEEDS, Experiment
from augpipe.pipeline.replicates import AS_SET, Explored, design

FIRST_LOOK: Final = 5  # replicates; every further look has twice as many
OFF: Final = "the run has no confirm stage (confirm: off)"
RESPLIT: Final = "a run with resplit, whose seeds have different test images, has no confirm stage"

# Trains and scores the arms of an experiment (see `train_and_score`): the runs, and the arms that failed with the reasons.
Train = Callable[[Experiment, More], tuple[Runs, Mapping[str, str]]]


@dataclass(frozen=True)
class Confirmed:
    """A finished confirm stage.

    experiment: of the two arms and the baseline, with the fresh seeds of the generators. classifiers: generator's seed →
    seeds of its classifiers. outcomes: one for each look; the last one is the verdict's. scores: `arm, generator_seed, seed,
    split, metric, class, value`. seconds: of the whole stage.
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

    @property
    def outcome(self) -> Confirmation:
        """That of the last look."""
        return self.outcomes[-1]

    def figures(self) -> dict[str, float]:
        """The difference in points with its 95% interval and p, and how much was trained; for tracking."""
        names = ("difference", "low", "high", "p", "generators", "classifiers")
        return {name: float(getattr(self.outcome, name)) for name in names}

    def means(self, metric: str = "macro_recall", name: str = "") -> dict[str, float]:
        """Mean of a test metric over all classifiers of each arm; name: of a class."""
        rows = self.scores[(self.scores.split == "test") & (self.scores.metric == metric)]
        rows = rows[rows["class"] == name]
        return {str(arm): float(of.value.mean()) for arm, of in rows.groupby("arm", sort=False)}


@dataclass(frozen=True)
class NotConfirmed:
    """Why a run has no confirm stage, or why it could not end; failed: arm → reason."""

    reason: str
    failed: Mapping[str, str]


def fresh_seeds(seeds: Sequence[int], options: Confirm) -> dict[int, list[int]]:
    """Seeds of the confirm stage: generator's seed → seeds of its classifiers, the first of them the same.

    All are larger than every one of `seeds`, so none had a part in the choice of the arms. More replicates or classifiers add
    seeds and change none.
    """
    first = max(seeds) + 1
    classifiers = 1 if options.classifiers == "auto" else options.classifiers
    return {
        first + g: [first + g + r * MOST_SEEDS for r in range(classifiers)]
        for g in range(options.generators)
    }


def further(arms: Sequence[str], fresh: Mapping[int, Sequence[int]], seeds: Sequence[int]) -> More:
    """The classifiers of these arms beyond the first on each generator; the baseline, as context, has one."""
    return {(arm, seed): fresh[seed][1:] for arm in arms for seed in seeds}


def looks(options: Confirm) -> tuple[int, ...]:
    """Numbers of replicates after which the result is looked at."""
    return (*_before(options), options.generators)


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
    generators = {name: experiment.generators[name] for name in experiment.generators if name in used}  # fmt: skip
    values = {"arms": remaining, "generators": generators, "seeds": tuple(seeds)}
    return experiment.model_copy(update=values)


def confirm(
    experiment: Experiment,
    chosen: Finalists,
    train: Train,
    report: Callable[[str], None] = lambda line: None,
    measured: Explored | None = None,
) -> Confirmed | NotConfirmed:
    """Train the finalists, and the baseline for context, with fresh seeds, look by look until the result is clear.

    chosen: by val, in the explore stage. report: a line before each part of the stage. measured: for `classifiers: auto`.
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
    fresh = fresh_seeds(experiment.seeds, options)
    seeds, planned = list(fresh), looks(options)
    runs, outcomes = Runs({}), list[Confirmation]()
    for done, replicates in zip((0, *planned), planned, strict=False):
        part = seeds[done:replicates]
        report(_announced(chosen, part))
        new, failed = train(stage(experiment, arms, part), further(finalists, fresh, part))
        if lost := {arm: why for arm, why in failed.items() if arm in finalists}:
            names = ", ".join(repr(arm) for arm in lost)
            return NotConfirmed(f"the confirm stage failed for {names}", lost)
        arms = tuple(arm for arm in arms if arm not in failed)  # the baseline is only context
        runs = merged(runs, new)
        trained = {seed: fresh[seed] for seed in seeds[:replicates]}
        outcomes.append(_look(runs, chosen, trained, options.margin, planned))
        if outcomes[-1].decision != "undecided":
            break
    ran = stage(experiment, arms, list(trained))
    return Confirmed(
        chosen, ran, trained, runs, tuple(outcomes), planned, _scores(ran, runs, trained),
        time.perf_counter() - start, why,
    )  # fmt: skip


def _announced(chosen: Finalists, seeds: Sequence[int]) -> str:
    span = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    return f"confirm: {chosen.contender!r} against {chosen.rival!r}, both chosen by val, with fresh {span}"


def merged(runs: Runs, more: Runs) -> Runs:
    """The runs of both."""
    return Runs(
        {**runs.prepared, **more.prepared},
        {**runs.references, **more.references},
        {**runs.generators, **more.generators},
        {**runs.arms, **more.arms},
    )


def _look(
    runs: Runs,
    chosen: Finalists,
    trained: Mapping[int, Sequence[int]],
    margin: float,
    planned: Sequence[int],
) -> Confirmation:
    contender, rival = (
        predictions(runs, str(arm), trained) for arm in (chosen.contender, chosen.rival)
    )
    truth, groups = test_labels(runs)
    return confirm_pair(contender, rival, truth, groups, margin=margin, looks=planned)


def test_labels(runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Class and group of each test image, (N,)."""
    test = load_images(next(iter(runs.prepared.values())).splits.test)
    return np.array(test.labels), test.table["group"].to_numpy()


def predictions(
    runs: Runs, arm: str, classifiers: Mapping[int, Sequence[int]]
) -> NDArray[np.int64]:
    """Predicted classes of the test images, (G,R,N)."""
    return np.array([[_predicted(runs, arm, seed) for seed in of] for of in classifiers.values()])


def _predicted(runs: Runs, arm: str, seed: int) -> NDArray[np.int64]:
    """Predicted class of each test image, (N,)."""
    scored = runs.arms[arm, seed].scored
    if scored is None:
        raise ValueError(f"arm {arm!r}, seed {seed} was not scored")
    predicted: NDArray[np.int64] = load_state(scored.probabilities)["test"].numpy().argmax(1)
    return predicted


def _scores(
    experiment: Experiment, runs: Runs, trained: Mapping[int, Sequence[int]]
) -> pd.DataFrame:
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
