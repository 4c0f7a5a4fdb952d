"""The flow of `augpipe run`: compare the arms of an experiment and write the report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from prefect import flow

from augpipe.core.errors import several
from augpipe.export import export_all
from augpipe.export_formats import Format
from augpipe.pipeline.confirm import Confirmed, NotConfirmed, confirm
from augpipe.pipeline.confirm import stage as stage_of
from augpipe.pipeline.confounding import over_sampling
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.generator_warnings import generator_warnings
from augpipe.pipeline.graph import More, call_stages, train_and_score
from augpipe.pipeline.records import Prepared
from augpipe.pipeline.replicates import explored
from augpipe.pipeline.runs import Runs, resolve
from augpipe.report.collect import collect, with_confirmed
from augpipe.report.results import Results
from augpipe.report.write import write

from .engine import stop_workers
from .flow_calls import optional, recorded, undeployed
from .follow import follow, intake_lines
from .output import report
from .progress import working
from .source_splits import NONE, splits_by_seed
from .startup import started
from .tasks import Submit, all_cached, result_of
from .tracking import Tracker
from .tracking.artifacts import create_artifacts
from .tracking.models import Logged
from .tracking.pending import Lost

TITLE: Final = 100  # maximum characters of the arms' names in a run's name


@dataclass(frozen=True)
class FlowResult:
    """A finished comparison. logged: MLflow models by kind, name and seed. run: the parent run's id.

    lost: why MLflow misses a part of it, or None.
    """

    results: Results
    runs: Runs
    logged: Mapping[tuple[str, str, int], Logged]
    run: str
    lost: Lost = None


def run(
    experiment: Experiment,
    out: Path,
    fresh: bool = False,
    known: Mapping[int, Prepared] = NONE,
    form: Format | None = None,
) -> FlowResult:
    """Run a comparison and write its files to `out`; UserError for the user's mistakes.

    Starts a Prefect server and workers if none are configured. `out` is written to a draft folder and renamed.
    fresh: reuse no result of an earlier run. known: splits by seed, of a source that was read just now. form: in which
    the models are exported too; see `export`.
    """
    with started(experiment, fresh) as ready:
        prepared = prepared_by_seed(experiment, ready.context, experiment.seeds, known)
        # After the data, so that a mistake in them is one line.
        warnings = generator_warnings(experiment, prepared[experiment.seeds[0]])
        for line in (*experiment.notes(), *over_sampling(experiment), *warnings):
            report(line)
        graph = partial(call_stages, experiment, prepared)
        flow_call = replace(ready, cached=partial(all_cached, graph, ready.context)).call
        # Absolute, as the working directory may be deleted meanwhile.
        return flow_call(compare, title(experiment), experiment, ready.context, prepared, out.absolute(), form)


def title(experiment: Experiment) -> str:
    """Arms and seeds in one short line, used in the run's name."""
    arms = ", ".join(arm.name for arm in experiment.arms)
    if len(arms) > TITLE:
        arms = f"{arms[:TITLE].rpartition(', ')[0]} ... ({several(len(experiment.arms), 'arm')})"
    return f"{arms}; {several(len(experiment.seeds), 'seed')}"


def prepared_by_seed(
    experiment: Experiment, context: Context, seeds: tuple[int, ...], known: Mapping[int, Prepared] = NONE
) -> dict[int, Prepared]:
    """As `source_splits.splits_by_seed`, and print the notes about the data."""
    by_seed = splits_by_seed(experiment, context, seeds, known)
    for line in intake_lines(by_seed[seeds[0]].intake):
        report(line)
    return by_seed


@flow(name="compare", validate_parameters=False)
@undeployed
@recorded
def compare(
    experiment: Experiment, context: Context, prepared: dict[int, Prepared], out: Path, form: Format | None = None
) -> FlowResult:
    """Run the graph, compare the arms, confirm the best two with fresh seeds, write the report."""
    start = time.perf_counter()
    tracker = Tracker(experiment)
    with tracker.comparison(prepared[experiment.seeds[0]]):
        results, runs = _results(experiment, context, prepared, tracker, start)
        confirmed = _confirmed(results, runs, context, prepared, tracker)
        results = with_confirmed(results, confirmed, time.perf_counter() - start)
        with working("writing the report"):
            write(results, out, None if form is None else partial(export_all, form=form))
        tracker.fidelity(results.quality.fidelity, results.classes)
        tracker.result(out, results.verdict, results.headline())
        if isinstance(confirmed, Confirmed):
            tracker.confirmed(confirmed.figures(), confirmed.outcome.decision)
        tracker.cost()
    with optional():
        create_artifacts(results, tracker.address)
    return FlowResult(results, runs, tracker.logged, tracker.parent, tracker.lost)


def _results(
    experiment: Experiment, context: Context, prepared: dict[int, Prepared], tracker: Tracker, start: float
) -> tuple[Results, Runs]:
    """Run the graph, tracking what completes, and collect the results of the arms that did not fail."""
    try:
        runs = call_stages(experiment, prepared, Submit(context, experiment.runner.timeout))
        failures = follow(runs, tracker, context)
        remaining, failed = failures.remaining(experiment)
    except BaseException:
        stop_workers()
        raise
    runs = resolved(runs.keep(remaining))
    with working("comparing the arms"):
        results = collect(
            remaining, runs, time.perf_counter() - start, requested=experiment, failed=failed, threads=context.threads
        )
    tracker.failed(failures, failed)
    return results, runs


def _confirmed(
    results: Results, explored_runs: Runs, context: Context, prepared: Mapping[int, Prepared], tracker: Tracker
) -> Confirmed | NotConfirmed:
    """Run the graph again with fresh seeds for the two arms that val chose."""
    experiment = results.experiment
    same = prepared[experiment.seeds[0]]

    def train(stage: Experiment, more: More, known: Runs | None) -> tuple[Runs, dict[str, str]]:
        submit = Submit(context, stage.runner.timeout)
        try:
            runs = train_and_score(stage, dict.fromkeys(stage.seeds, same), submit, more, known)
            failures = follow(runs, tracker, context, known)
        except BaseException:
            stop_workers()
            raise
        failed = failures.reasons(stage)
        tracker.failed(failures, failed)
        arms = [arm.name for arm in stage.arms if arm.name not in failed]
        return resolved(runs.keep(stage_of(stage, arms, stage.seeds))), failed

    measured = explored(experiment, explored_runs, results.generative())
    return confirm(experiment, results.finalists, train, report, measured, explored_runs)


def resolved(runs: Runs) -> Runs:
    """Replace futures in the runs by their results."""
    all_runs: list[Any] = [*runs.references.values(), *runs.generators.values(), *runs.arms.values()]
    for record in all_runs:
        resolve(record, result_of)
    return runs
