"""The main job: do synthetic images help here, from which generator, how many, and how sure is that?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import flow
from prefect.futures import PrefectFuture, as_completed
from rich.console import Console

from augpipe import generating
from augpipe.config import Arm, Experiment
from augpipe.errors import several
from augpipe.judging import shares_of
from augpipe.records import (
    Chosen,
    IntakeRecord,
    Job,
    Measured,
    Part,
    Prepared,
    Scored,
    Synthesised,
    TrainedClassifier,
    TrainedGenerator,
)
from augpipe.report.results import Results, Stored, collect
from augpipe.report.write import write
from augpipe.store import Ref
from flows import tasks
from flows.engine import stop_workers
from flows.progress import Board
from flows.recalling import RECALLED
from flows.starting import started
from flows.tracking import Tracker

T = TypeVar("T")
Key = tuple[str, int]  # an arm's or a generator's name, and a seed
# One and the same for every seed, but where each has a split of its own.
BySeed = Mapping[int, Prepared]


@dataclass
class Futures:
    """What is under way: every stage's tasks, by name and seed."""

    domains: dict[int, PrefectFuture[Ref]] = field(default_factory=dict)
    parts: dict[tuple[str, int, str], PrefectFuture[TrainedGenerator]] = field(default_factory=dict)
    generators: dict[Key, PrefectFuture[TrainedGenerator]] = field(default_factory=dict)
    synthesised: dict[Key, PrefectFuture[Synthesised]] = field(default_factory=dict)
    measured: dict[Key, PrefectFuture[Measured]] = field(default_factory=dict)
    chosen: dict[Key, PrefectFuture[Chosen]] = field(default_factory=dict)
    mixed: dict[Key, PrefectFuture[Ref]] = field(default_factory=dict)
    trained: dict[Key, PrefectFuture[TrainedClassifier]] = field(default_factory=dict)
    scored: dict[Key, PrefectFuture[Scored]] = field(default_factory=dict)

    def all(self) -> Iterator[tuple[str, Key, PrefectFuture[object]]]:
        """(stage, name and seed, future) of every task."""
        for stage, futures in vars(self).items():
            for key, future in futures.items():
                yield stage, key[:2] if isinstance(key, tuple) else ("", key), future


def run(experiment: Experiment, out: Path, fresh: bool = False) -> dict[str, Any]:
    """Run a comparison, leave its files in `out`, return its summary; UserError for the user's mistakes.

    Starts Prefect's server and workers where none are given. `out` is written beside and renamed. fresh: nothing is
    recalled from earlier runs.
    """
    seeds, arms = len(experiment.seeds), len(experiment.arms)
    with started(experiment, seeds * arms, fresh) as ready:
        return ready.named(compare, f"{arms} arms, {seeds} seeds")(ready.job, out)


@flow(name="compare", validate_parameters=False)
def compare(job: Job, out: Path) -> dict[str, Any]:
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
            follow(futures, by_seed, tracker, job.progress)
        except BaseException:
            stop_workers()
            raise
        results = gather(experiment, by_seed, futures, time.perf_counter() - begun)
        write(results, out)
        tracker.fidelity(results.judged.fidelity, prepared.classes)
        tracker.result(out, results.comparison.sentence, results.headline())
        tracker.cost()
    return results.summary()


def told(intake: IntakeRecord) -> Iterator[str]:
    """What the user should know of what came in, a line each; nothing where there is nothing to say."""
    if intake.quarantined:
        yield f"{several(intake.quarantined, 'file')} that cannot be used; quarantine.csv says why"
    if intake.ignored:
        ignored = ", ".join(f"{n:,} {suffix}" for suffix, n in intake.ignored.items())
        yield f"no pictures by their names, left alone: {ignored}"
    yield from intake.notes


def submit(job: Job, prepared: BySeed) -> Futures:
    """Submit every task, upstream first: generators take longest, so nothing stands before them."""
    futures, seeds = Futures(), job.experiment.seeds
    used = {name for arm in job.experiment.arms for name in arm.generators}
    longest_first = sorted(used, key=lambda name: (-job.experiment.generators[name].kimg, name))
    if used:
        for seed in seeds:
            futures.domains[seed] = tasks.train_features.submit(job, prepared[seed], seed)
    for name in longest_first:
        for seed in seeds:
            grow(job, prepared[seed], Part(name=name, seed=seed), futures)
    # Arms without a generator keep the cores busy while the last generators train.
    for generated in (False, True):
        arms = [arm for arm in job.experiment.arms if bool(arm.generator) == generated]
        if generated:
            _fill(job, prepared, arms, futures)
        _learn(job, prepared, arms, futures)
    for name in longest_first:
        for seed in seeds:
            futures.measured[name, seed] = tasks.measure.submit(
                job,
                prepared[seed],
                promised(futures.domains[seed]),
                promised(futures.generators[name, seed]),
            )
    return futures


def grow(job: Job, prepared: Prepared, whole: Part, futures: Futures) -> None:
    """Train a generator: as a whole, or a model a class, each a task, and join them."""
    name, seed = whole.name, whole.seed
    first, parts = generating.parts_of(job, prepared, whole)
    domain = promised(futures.domains[seed])
    if first is not None:
        futures.parts[name, seed, "all"] = tasks.train_generator.submit(
            job, prepared, domain, first
        )
    if parts[0].label is None:
        futures.generators[name, seed] = tasks.train_generator.submit(
            job, prepared, domain, parts[0]
        )
        return
    trained = []
    for part in parts:
        small = first is not None and generating.is_small(job, prepared, part)
        start = promised(futures.parts[name, seed, "all"]) if small else None
        trained.append(tasks.train_generator.submit(job, prepared, domain, part, start))
        futures.parts[name, seed, f"class {part.label}"] = trained[-1]
    futures.generators[name, seed] = tasks.join_generators.submit(
        job,
        prepared,
        [promised(part) for part in trained],
        promised(futures.parts[name, seed, "all"]) if first is not None else None,
    )


def _fill(job: Job, prepared: BySeed, arms: list[Arm], futures: Futures) -> None:
    """Synthesise for each arm; arms of one generator and plan share their images."""
    shared: dict[tuple[str, str, bool, int], PrefectFuture[Synthesised]] = {}
    for arm in arms:
        for seed in job.experiment.seeds:
            plans = shares_of(prepared[seed].plans[arm.name], len(arm.generators))
            parts = []
            for name, plan in zip(arm.generators, plans, strict=True):
                curated = job.experiment.curates(arm, name)
                key = (name, repr(plan), curated, seed)
                if key not in shared:
                    shared[key] = tasks.synthesise.submit(
                        job,
                        prepared[seed],
                        promised(futures.domains[seed]),
                        promised(futures.generators[name, seed]),
                        plan,
                        curated,
                    )
                parts.append(shared[key])
            futures.synthesised[arm.name, seed] = (
                tasks.pool.submit(job, [promised(part) for part in parts])
                if len(parts) > 1
                else parts[0]
            )


def _learn(job: Job, prepared: BySeed, arms: list[Arm], futures: Futures) -> None:
    """Mix, train a classifier and score it, for each arm and seed."""
    keys = [(arm, (arm.name, seed)) for seed in job.experiment.seeds for arm in arms]
    for arm, key in keys:
        made = futures.synthesised.get(key)
        domain = promised(futures.domains[key[1]]) if made else None
        if made is not None and domain is not None and arm.mix.searches:
            futures.chosen[key] = tasks.choose.submit(
                job, prepared[key[1]], arm, promised(made), key[1], domain
            )
        chosen = futures.chosen.get(key)
        futures.mixed[key] = tasks.mix.submit(
            job,
            prepared[key[1]],
            arm,
            promised(made) if made else None,
            promised(chosen) if chosen else None,
            domain if arm.mix.soft else None,
        )
    for arm, key in keys:
        futures.trained[key] = tasks.train_classifier.submit(
            job, prepared[key[1]], promised(futures.mixed[key]), arm.name, key[1]
        )
    for _, key in keys:
        futures.scored[key] = tasks.score.submit(
            job, prepared[key[1]], promised(futures.trained[key]), promised(futures.mixed[key])
        )


def follow(futures: Futures, prepared: BySeed, tracker: Tracker, progress: Path) -> None:
    """Show progress and track each generator and arm as it ends; the first failure ends the run."""
    stages: dict[PrefectFuture[object], list[tuple[str, Key]]] = {}
    for stage, key, future in futures.all():
        stages.setdefault(future, []).append((stage, key))
    board = Board(progress, len(stages), Console(stderr=True))
    recalled, earlier = 0, False
    with board.live():
        for future in as_completed(list(stages)):
            result = future.result()
            stage, key = stages[future][0]
            told = ""
            if future.state.name == RECALLED:
                recalled += 1
                # A mix without synthetic images is the same for all seeds: the first one's is recalled in any run.
                earlier = earlier or stage != "mixed"
            if isinstance(result, TrainedGenerator):
                tracker.generator(prepared[result.seed], result)
                told = (
                    f"generator {result.name}, {result.told}seed {result.seed}: best at {result.best_kimg:g} kimg "
                    f"(val KID {result.best_metric:.3g}), {result.time.seconds:.0f} s"
                )
            elif isinstance(result, Scored):
                trained = futures.trained[key].result()
                tracker.arm(prepared[result.seed], futures.mixed[key].result(), trained, result)
                told = f"arm {key[0]}, seed {key[1]}: scored, {trained.time.seconds:.0f} s"
            elif isinstance(result, Chosen):
                told = (
                    f"arm {key[0]}, seed {key[1]}: share {result.share} of {result.part:.0%} of the images by val, "
                    f"{result.time.seconds:.0f} s"
                )
            elif isinstance(result, Synthesised):
                short = shortage(prepared[key[1]], key, result)
                if short:
                    board.say(short)
            board.advance(told)
    if earlier:
        board.say(f"recalled {recalled} of {several(len(stages), 'task')}; --fresh makes all anew")


def shortage(prepared: Prepared, key: Key, made: Synthesised) -> str:
    """What curation left missing, or ""."""
    missing = ", ".join(f"{n} of class {prepared.classes[c]}" for c, n in made.short.items())
    return (
        f"arm {key[0]}, seed {key[1]}: too few images passed the checks; missing: {missing}"
        if missing
        else ""
    )


def gather(experiment: Experiment, by_seed: BySeed, futures: Futures, seconds: float) -> Results:
    """Everything the report needs, out of the tasks' Refs."""
    prepared = by_seed[experiment.seeds[0]]
    generators, trained = _results(futures.generators), _results(futures.trained)
    made, scored = _results(futures.synthesised), _results(futures.scored)
    chosen = _results(futures.chosen)
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
    stored = Stored(
        splits=prepared.splits,
        by_seed={seed: own.splits for seed, own in by_seed.items()},
        fingerprint=prepared.fingerprint,
        intake=prepared.intake,
        quarantine=prepared.quarantine,
        recipes=_results(futures.mixed),
        tables={key: value.table for key, value in scored.items()},
        probabilities={key: value.probabilities for key, value in scored.items()},
        samples={key: g.samples for key, g in generators.items()},
        best_kimg={key: g.best_kimg for key, g in generators.items()},
        stopped={key: g.stopped for key, g in generators.items()},
        measured=_results(futures.measured),
        seconds=spent,
    )
    return collect(experiment, stored, seconds)


def promised(future: PrefectFuture[T]) -> T:
    """A future where its value is meant: Prefect puts the value in before the task starts."""
    return cast(T, future)


def _results(futures: Mapping[Key, PrefectFuture[T]]) -> dict[Key, T]:
    return {key: future.result() for key, future in futures.items()}
