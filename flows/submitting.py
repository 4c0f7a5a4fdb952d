"""A comparison's tasks, submitted upstream first: Prefect starts each as soon as what it needs is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.futures import PrefectFuture

from augpipe.core.store import Ref
from augpipe.pipeline.experiment import Arm
from augpipe.pipeline.records import (
    Chosen,
    Job,
    Measured,
    Part,
    Prepared,
    Scored,
    Synthesised,
    TrainedClassifier,
    TrainedGenerator,
)
from augpipe.pipeline.stages import generators as generating
from augpipe.pipeline.stages.samples import shares_of

from . import tasks
from .failures import Key

P = ParamSpec("P")
T = TypeVar("T")
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


def submit(job: Job, prepared: BySeed) -> Futures:
    """Submit every task, upstream first: generators take longest, so nothing stands before them."""
    futures, seeds = Futures(), job.experiment.seeds
    used = {name for arm in job.experiment.arms for name in arm.generators}
    longest_first = sorted(used, key=lambda name: (-job.experiment.generators[name].kimg, name))
    if used:
        for seed in seeds:
            futures.domains[seed] = send(tasks.train_features, job, prepared[seed], seed)
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
            futures.measured[name, seed] = send(
                tasks.measure,
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
        futures.parts[name, seed, "all"] = send(tasks.train_generator, job, prepared, domain, first)
    if parts[0].label is None:
        futures.generators[name, seed] = send(
            tasks.train_generator, job, prepared, domain, parts[0]
        )
        return
    trained = []
    for part in parts:
        small = first is not None and generating.is_small(job, prepared, part)
        start = promised(futures.parts[name, seed, "all"]) if small else None
        trained.append(send(tasks.train_generator, job, prepared, domain, part, start))
        futures.parts[name, seed, f"class {part.label}"] = trained[-1]
    futures.generators[name, seed] = send(
        tasks.join_generators,
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
                    shared[key] = send(
                        tasks.synthesise,
                        job,
                        prepared[seed],
                        promised(futures.domains[seed]),
                        promised(futures.generators[name, seed]),
                        plan,
                        curated,
                    )
                parts.append(shared[key])
            futures.synthesised[arm.name, seed] = (
                send(tasks.pool, job, [promised(part) for part in parts])
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
            futures.chosen[key] = send(
                tasks.choose, job, prepared[key[1]], arm, promised(made), key[1], domain
            )
        chosen = futures.chosen.get(key)
        futures.mixed[key] = send(
            tasks.mix,
            job,
            prepared[key[1]],
            arm,
            promised(made) if made else None,
            promised(chosen) if chosen else None,
            domain if arm.mix.soft else None,
        )
    for arm, key in keys:
        futures.trained[key] = send(
            tasks.train_classifier,
            job,
            prepared[key[1]],
            promised(futures.mixed[key]),
            arm.name,
            key[1],
        )
    for _, key in keys:
        futures.scored[key] = send(
            tasks.score,
            job,
            prepared[key[1]],
            promised(futures.trained[key]),
            promised(futures.mixed[key]),
        )


def send(
    task: Task[Concatenate[Job, P], T], job: Job, *inputs: P.args, **more: P.kwargs
) -> PrefectFuture[T]:
    """Submit a task, which then fails where it takes longer than the experiment lets it.

    It goes without the other arms and their plans: Prefect looks through all that a task is handed, and pickles it.
    """
    limited = task.with_options(timeout_seconds=job.experiment.runner.timeout)
    light = [one.for_a_task() if isinstance(one, Prepared) else one for one in inputs]
    return limited.submit(job.for_a_task(), *cast(Any, light), **more)


def promised(future: PrefectFuture[T]) -> T:
    """A future where its value is meant: Prefect puts the value in before the task starts."""
    return cast(T, future)
