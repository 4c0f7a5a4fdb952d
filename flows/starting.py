"""What every flow needs before it begins: a tracking store that answers, Prefect's API, workers, a place for progress."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from prefect import Flow

from augpipe.core.device import require
from augpipe.core.errors import FULL_WORDS, UserError
from augpipe.core.store import Store, home
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.pruning import prune, running, store_limit
from augpipe.pipeline.records import Job
from flows.engine import pool, prefect_api, workers_and_threads
from flows.tracking.store import check_store

ROOM: Final = 10 * 2**20  # bytes: the databases of Prefect and MLflow, empty
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Started:
    """job: where the flow's stages work. workers: processes, each with the job's threads."""

    job: Job
    workers: int

    def named(self, flow: Flow[P, R], name: str) -> Flow[P, R]:
        """The flow under that run name, with workers of its own."""
        runner = pool(self.job.experiment.runner, self.workers, self.job.threads)
        return flow.with_options(
            task_runner=runner, flow_run_name=f"{self.job.experiment.name}: {name}"
        )


def check_room(place: Path) -> None:
    """UserError where the disk below `place` has less room than a run's databases need to begin with."""
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if free < ROOM:
        raise UserError(f"{FULL_WORDS[0]}: {place} has {free / 1e6:.1f} MB left")


@contextmanager
def looking(experiment: Experiment) -> Iterator[Job]:
    """A job for stages that run in this process, before there are workers."""
    store = Store(home() / "store")
    check_room(home())
    _, threads = workers_and_threads(experiment.runner, 1)
    with running(store), tempfile.TemporaryDirectory(prefix="augpipe-progress-") as progress:
        yield Job(
            experiment=experiment, store=store.root, progress=Path(progress), threads=threads
        )  # fmt: skip


def _progress(experiment: Experiment) -> tempfile.TemporaryDirectory[str]:
    """Where tasks tell how far they are: on other machines, in the folder that they share with this one."""
    shared = home() / "progress" if experiment.runner.kind == "dask" else None
    if shared is not None:
        shared.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="augpipe-progress-", dir=shared)


@contextmanager
def started(experiment: Experiment, tasks: int, fresh: bool = False) -> Iterator[Started]:
    """Everything for a flow with that many tasks at once; ends with it. UserError where a server does not answer.

    fresh: nothing is recalled from earlier runs. After a flow that ends well the store is cut to its limit.
    """
    require(experiment.runner.devices, experiment.runner.device)
    workers, threads = workers_and_threads(experiment.runner, tasks)
    check_store()
    store = Store(home() / "store")
    limit = store_limit()
    check_room(home())
    with (
        running(store),
        prefect_api(),
        _progress(experiment) as progress,
    ):
        job = Job(
            experiment=experiment,
            store=store.root,
            progress=Path(progress),
            threads=threads,
            fresh=fresh,
        )
        yield Started(job, workers)
    # The run is done and told; what cannot be taken away is another's, or goes next time.
    with suppress(OSError):
        prune(store, limit=limit)
