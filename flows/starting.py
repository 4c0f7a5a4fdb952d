"""What every flow needs before it begins: a tracking store that answers, Prefect's API, workers, a place for progress."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import Flow

from augpipe.config import Experiment
from augpipe.records import Job
from augpipe.store import home
from flows.engine import pool, prefect_api, workers_and_threads
from flows.tracking_store import check_store

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Started:
    """job: where the flow's stages work. workers: processes, each with the job's threads."""

    job: Job
    workers: int

    def named(self, flow: Flow[P, R], name: str) -> Flow[P, R]:
        """The flow under that run name, with workers of its own."""
        runner = pool(self.workers, self.job.threads)
        return flow.with_options(
            task_runner=runner, flow_run_name=f"{self.job.experiment.name}: {name}"
        )


@contextmanager
def started(experiment: Experiment, tasks: int) -> Iterator[Started]:
    """Everything for a flow with that many tasks at once; ends with it. UserError where a server does not answer."""
    runner = experiment.runner
    workers, threads = workers_and_threads(runner.workers, runner.device, tasks)
    check_store()
    with prefect_api(), tempfile.TemporaryDirectory(prefix="augpipe-progress-") as progress:
        job = Job(
            experiment=experiment, store=home() / "store", progress=Path(progress), threads=threads
        )
        yield Started(job, workers)
