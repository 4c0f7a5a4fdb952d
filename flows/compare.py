"""The flow of `augpipe run`: compare the arms of an experiment and write the report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from rich.console import Console

from augpipe.core.errors import several
from augpipe.pipeline.compare import Runs, resolve
from augpipe.pipeline.compare import compare as call_all
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.stages.prepare import prepare
from augpipe.report.results import Results, collect
from augpipe.report.write import write

from .engine import stop_workers
from .following import follow, intake_lines
from .progress import bar
from .starting import started
from .tasks import OPTIONS, Submit, result_of
from .tracking import Tracker
from .tracking.artifacts import create_artifacts
from .tracking.models import Logged

TITLE: Final = 100  # maximum characters of the arms' names in a run's name


@dataclass(frozen=True)
class Compared:
    """A finished comparison. logged: MLflow models by kind, name and seed. run: the parent run's id."""

    results: Results
    runs: Runs
    logged: Mapping[tuple[str, str, int], Logged]
    run: str


def run(experiment: Experiment, out: Path, fresh: bool = False) -> Compared:
    """Run a comparison and write its files to `out`; UserError for the user's mistakes.

    Starts a Prefect server and workers if none are configured. `out` is written to a draft folder and renamed.
    fresh: reuse no result of an earlier run.
    """
    with started(experiment, fresh) as ready:
        flow_run = ready.named(compare, title(experiment))
        return flow_run(experiment, ready.context, out)


def title(experiment: Experiment) -> str:
    """Arms and seeds in one short line, used in the run's name."""
    arms = ", ".join(arm.name for arm in experiment.arms)
    if len(arms) > TITLE:
        arms = f"{arms[:TITLE].rpartition(', ')[0]} ... ({several(len(experiment.arms), 'arm')})"
    return f"{arms}; {several(len(experiment.seeds), 'seed')}"


@task(task_run_name="prepare", **OPTIONS)
def read_data(experiment: Experiment, context: Context, seed: int | None) -> Prepared:
    """Read, split and store the data; tried again if the source or the store fails for a moment."""
    with bar("reading images") as progress:
        return prepare(context, experiment, seed, progress)


def prepared_by_seed(
    experiment: Experiment, context: Context, seeds: tuple[int, ...]
) -> dict[int, Prepared]:
    """Splits of each seed: the same for all, unless the experiment draws one split per seed.

    Runs in this process, so that errors in the data are reported before any worker starts.
    """

    if experiment.resplit:
        by_seed = {seed: read_data(experiment, context, seed) for seed in seeds}
    else:
        by_seed = dict.fromkeys(seeds, read_data(experiment, context, None))
    for line in intake_lines(by_seed[seeds[0]].intake):
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    return by_seed


@flow(name="compare", validate_parameters=False)
def compare(experiment: Experiment, context: Context, out: Path) -> Compared:
    """Prepare the data, run the graph, compare the arms, write the report."""
    start = time.perf_counter()
    prepared = prepared_by_seed(experiment, context, experiment.seeds)
    first = prepared[experiment.seeds[0]]
    tracker = Tracker(experiment)
    with tracker.comparison(first):
        try:
            runs = call_all(experiment, prepared, Submit(context, experiment.runner.timeout))
            failures = follow(runs, tracker, context.progress)
            remaining, failed = failures.remaining(experiment)
        except BaseException:
            stop_workers()
            raise
        runs = resolved(runs.keep(remaining))
        results = collect(
            remaining,
            runs,
            time.perf_counter() - start,
            requested=experiment,
            failed=failed,
            threads=context.threads,
        )
        write(results, out)
        tracker.failed(failures, failed)
        tracker.fidelity(results.quality.fidelity, first.classes)
        tracker.result(out, results.comparison.sentence, results.headline())
        tracker.cost()
    create_artifacts(results, tracker.address)
    return Compared(results, runs, tracker.logged, tracker.parent)


def resolved(runs: Runs) -> Runs:
    """Replace futures in the runs by their results."""
    all_runs: list[Any] = [
        *runs.references.values(), *runs.generators.values(), *runs.arms.values(),
    ]  # fmt: skip
    for record in all_runs:
        resolve(record, result_of)
    return runs
