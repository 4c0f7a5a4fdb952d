"""Thin tasks over the library's stages: Refs and frozen configs in, Refs out.

The functions name nothing but `stages`, `once`, `Reporter` and `bar`: Prefect ships a task's function to its workers by
value, with whatever it refers to. What a stage made before is recalled (see `augpipe.caching`), but for `prepare`, which
looks at the source itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from augpipe.core.store import Ref
from augpipe.pipeline import stages
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

from .failures import DELAYS, once_more
from .progress import Reporter, bar
from .recalling import once

# Prefect's own cache sees a task's text, not the code below it, and writes its results in place.
OPTIONS: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": len(DELAYS),
    "retry_delay_seconds": list(DELAYS),
    "retry_condition_fn": once_more,
}


@task(task_run_name="prepare", **OPTIONS)
def prepare(job: Job, seed: int | None = None) -> Prepared:
    """source → split → thinned train; every fill resolved. seed: of a replicate with a split of its own."""
    with bar("reading pictures") as progress:
        return stages.prepare(job, progress, seed)


@task(task_run_name="domain features, seed {seed}", **OPTIONS)
def train_features(job: Job, prepared: Prepared, seed: int) -> Ref:
    """The real-only classifier that judges synthetic images."""
    return once(stages.train_features, job, prepared, seed)


@task(task_run_name="train {part.name}, {part.told}seed {part.seed}", **OPTIONS)
def train_generator(
    job: Job, prepared: Prepared, domain: Ref, part: Part, start: TrainedGenerator | None = None
) -> TrainedGenerator:
    """One generator, or its model of one class, at its best moment by val."""
    own = job.experiment.generators[part.name]
    total = own.pretrain if part.together else own.kimg
    if part.last is not None:
        job = job.model_copy(
            update={"fresh": True}
        )  # a training of its own, with a folder to go on in
    if start is not None:
        part = part.model_copy(update={"start": start.checkpoint})
    with Reporter(job.progress, f"{part.name}, {part.told}seed {part.seed}", total) as report:
        return once(stages.train_generator, job, prepared, domain, part, report=report)


@task(task_run_name="join {parts[0].name}, seed {parts[0].seed}", **OPTIONS)
def join_generators(
    job: Job,
    prepared: Prepared,
    parts: list[TrainedGenerator],
    start: TrainedGenerator | None = None,
) -> TrainedGenerator:
    """Models of single classes as one generator."""
    return once(stages.join_generators, job, prepared, parts, start)


@task(task_run_name="synthesise {generator.name}, seed {generator.seed}", **OPTIONS)
def synthesise(
    job: Job,
    prepared: Prepared,
    domain: Ref,
    generator: TrainedGenerator,
    counts: Mapping[int, int],
    curated: bool,
) -> Synthesised:
    """The planned images of each class, checked where they are to be."""
    return once(stages.synthesise, job, prepared, domain, generator, counts, curated)


@task(task_run_name="pool the images of several generators", **OPTIONS)
def pool(job: Job, made: list[Synthesised]) -> Synthesised:
    """Images of several generators as one set."""
    return once(stages.pool, job, made)


@task(task_run_name="measure {generator.name}, seed {generator.seed}", **OPTIONS)
def measure(job: Job, prepared: Prepared, domain: Ref, generator: TrainedGenerator) -> Measured:
    """Fidelity against val."""
    return once(stages.measure, job, prepared, domain, generator)


@task(task_run_name="measure what was made, seed {seed}", **OPTIONS)
def measure_made(
    job: Job, prepared: Prepared, domain: Ref, made: Synthesised, seed: int
) -> Measured:
    """Fidelity of the images that are to be published, against val."""
    return once(stages.measure_made, job, prepared, domain, made, seed)


@task(task_run_name="choose the mix of {arm.name}, seed {seed}", **OPTIONS)
def choose(
    job: Job, prepared: Prepared, arm: Arm, synthetic: Synthesised, seed: int, domain: Ref
) -> Chosen:
    """An arm's share and fill by val."""
    total = stages.search_steps(job, arm)
    with Reporter(job.progress, f"mix of {arm.name}, seed {seed}", total) as report:
        return once(stages.choose, job, prepared, arm, synthetic, seed, domain, report=report)


@task(task_run_name="mix {arm.name}", **OPTIONS)
def mix(
    job: Job,
    prepared: Prepared,
    arm: Arm,
    synthetic: Synthesised | None,
    chosen: Chosen | None = None,
    domain: Ref | None = None,
) -> Ref:
    """What an arm's classifier is drawn from."""
    return once(stages.mix, job, prepared, arm, synthetic, chosen, domain)


@task(task_run_name="train classifier {arm}, seed {seed}", **OPTIONS)
def train_classifier(
    job: Job, prepared: Prepared, recipe: Ref, arm: str, seed: int
) -> TrainedClassifier:
    """One classifier at its best moment by val."""
    total = job.experiment.classifier.steps
    with Reporter(job.progress, f"classifier {arm}, seed {seed}", total) as report:
        return once(stages.train_classifier, job, prepared, recipe, arm, seed, report=report)


@task(task_run_name="score {classifier.arm}, seed {classifier.seed}", **OPTIONS)
def score(job: Job, prepared: Prepared, classifier: TrainedClassifier, recipe: Ref) -> Scored:
    """Val and, this once, test."""
    return once(stages.score, job, prepared, classifier, recipe)
