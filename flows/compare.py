"""The main job: do synthetic images help here, from which generator, how many, and how sure is that?"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from prefect import flow
from prefect.futures import PrefectFuture
from rich.console import Console

from augpipe.core.errors import several
from augpipe.core.store import Ref
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Job
from augpipe.report.results import Results, Stored, collect
from augpipe.report.write import write
from flows import tasks
from flows.engine import stop_workers
from flows.failures import Key
from flows.following import follow, told
from flows.starting import started
from flows.submitting import BySeed, Futures, submit
from flows.tracking import Tracker
from flows.tracking.artifacts import leave
from flows.tracking.models import Logged

TITLE: Final = 100  # letters of the arms' names in a run's name
T = TypeVar("T")


@dataclass(frozen=True)
class Compared:
    """A comparison that is done; logged: the models that its runs hold, by kind, name and seed."""

    results: Results
    stored: Stored
    prepared: BySeed
    states: Mapping[Key, Ref]  # of each arm's and seed's classifier
    checkpoints: Mapping[Key, Ref]  # of each generator and seed
    logged: Mapping[tuple[str, str, int], Logged]
    run: str  # its parent run in MLflow


def run(experiment: Experiment, out: Path, fresh: bool = False) -> Compared:
    """Run a comparison and leave its files in `out`; UserError for the user's mistakes.

    Starts Prefect's server and workers where none are given. `out` is written beside and renamed. fresh: nothing is
    recalled from earlier runs.
    """
    seeds, arms = len(experiment.seeds), len(experiment.arms)
    with started(experiment, seeds * arms, fresh) as ready:
        return ready.named(compare, title(experiment))(ready.job, out)


def title(experiment: Experiment) -> str:
    """Arms and seeds, in one short line."""
    arms = ", ".join(arm.name for arm in experiment.arms)
    if len(arms) > TITLE:
        arms = f"{arms[:TITLE].rpartition(', ')[0]} ... ({several(len(experiment.arms), 'arm')})"
    return f"{arms}; {several(len(experiment.seeds), 'seed')}"


@flow(name="compare", validate_parameters=False)
def compare(job: Job, out: Path) -> Compared:
    """Prepare the data, train generators, fill and mix, train classifiers, score, compare, tell."""
    begun, experiment = time.perf_counter(), job.experiment
    # Called, not submitted: a mistake in the data is told before any worker is started.
    seeds = experiment.seeds
    if experiment.resplit:
        by_seed = {seed: tasks.prepare(job, seed) for seed in seeds}
    else:
        by_seed = dict.fromkeys(seeds, tasks.prepare(job))
    prepared = by_seed[seeds[0]]
    for line in told(prepared.intake):
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    tracker = Tracker(experiment)
    with tracker.comparison(prepared):
        try:
            futures = submit(job, by_seed)
            failures = follow(futures, by_seed, tracker, job.progress)
            rest, failed = failures.rest(experiment)
        except BaseException:
            stop_workers()
            raise
        stored = gather(rest, by_seed, futures)
        results = collect(
            rest,
            stored,
            time.perf_counter() - begun,
            asked=experiment,
            failed=failed,
            threads=job.threads,
        )
        write(results, out)
        tracker.failed(failures, failed)
        tracker.fidelity(results.judged.fidelity, prepared.classes)
        tracker.result(out, results.comparison.sentence, results.headline())
        tracker.cost()
    leave(results, tracker.address)
    trained = _results(futures.trained, {arm.name for arm in rest.arms})
    states = {key: one.state for key, one in trained.items()}
    grown = _results(futures.generators, rest.generators)
    checkpoints = {key: one.checkpoint for key, one in grown.items()}
    return Compared(
        results, stored, by_seed, states, checkpoints, tracker.logged, tracker.parent
    )  # fmt: skip


def gather(experiment: Experiment, by_seed: BySeed, futures: Futures) -> Stored:
    """Everything the report needs of an experiment's arms and generators, out of the tasks' Refs."""
    prepared = by_seed[experiment.seeds[0]]
    arms = {arm.name for arm in experiment.arms}
    generators, trained = (
        _results(futures.generators, experiment.generators), _results(futures.trained, arms)
    )  # fmt: skip
    made, scored = _results(futures.synthesised, arms), _results(futures.scored, arms)
    chosen = _results(futures.chosen, arms)
    spent = {(f"generator {name}", seed): g.time.seconds for (name, seed), g in generators.items()}
    for arm in experiment.arms:
        for seed in experiment.seeds:
            key = (arm.name, seed)
            spent[key] = trained[key].time.seconds
            if arm.generators:
                spent[key] += made[key].time.seconds
            spent[key] += sum(generators[name, seed].time.seconds for name in arm.generators)
            if key in chosen:
                spent[key] += chosen[key].time.seconds
    return Stored(
        splits=prepared.splits,
        by_seed={seed: own.splits for seed, own in by_seed.items()},
        fingerprint=prepared.fingerprint,
        intake=prepared.intake,
        quarantine=prepared.quarantine,
        recipes=_results(futures.mixed, arms),
        tables={key: value.table for key, value in scored.items()},
        probabilities={key: value.probabilities for key, value in scored.items()},
        samples={key: g.samples for key, g in generators.items()},
        best_kimg={key: g.best_kimg for key, g in generators.items()},
        stopped={key: g.stopped for key, g in generators.items()},
        measured=_results(futures.measured, experiment.generators),
        best_step={key: one.best_step for key, one in trained.items()},
        seconds=spent,
    )


def _results(futures: Mapping[Key, PrefectFuture[T]], names: Collection[str]) -> dict[Key, T]:
    return {key: future.result() for key, future in futures.items() if key[0] in names}
