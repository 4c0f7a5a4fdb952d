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
from augpipe.core.home import home
from augpipe.core.store import Store
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.pruning import prune, running, store_limit

from .engine import pool, prefect_api, workers_and_threads
from .tracking.store import check_store

ROOM: Final = 10 * 2**20  # bytes: the databases of Prefect and MLflow, empty
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Started:
    """context: where the flow's stages work. workers: processes, each with the context's threads."""

    experiment: Experiment
    context: Context
    workers: int

    def named(self, flow: Flow[P, R], name: str) -> Flow[P, R]:
        """The flow under that run name, with workers of its own."""
        runner = pool(self.experiment.runner, self.workers, self.context.threads)
        return flow.with_options(
            task_runner=runner, flow_run_name=f"{self.experiment.name}: {name}"
        )


def check_room(place: Path) -> None:
    """UserError where the disk below `place` has less room than a run's databases need to begin with."""
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if free < ROOM:
        raise UserError(f"{FULL_WORDS[0]}: {place} has {free / 1e6:.1f} MB left")


@contextmanager
def looking(experiment: Experiment) -> Iterator[Context]:
    """A context for stages that run in this process, before there are workers."""
    store = Store(home() / "store")
    check_room(home())
    _, threads = workers_and_threads(experiment.runner, 1)
    with running(store), tempfile.TemporaryDirectory(prefix="augpipe-progress-") as progress:
        yield _context(experiment, store, Path(progress), threads)


def _context(
    experiment: Experiment, store: Store, progress: Path, threads: int, fresh: bool = False
) -> Context:
    runner = experiment.runner
    context = Context(
        root=store.root, device=runner.device, precision=runner.precision,
        threads=threads, fresh=fresh, progress=progress,
    )  # fmt: skip
    # A Dask worker's machine may be another one: `auto` is resolved there.
    return context if runner.kind == "dask" else context.resolved()


def _progress(experiment: Experiment) -> tempfile.TemporaryDirectory[str]:
    """Where tasks tell how far they are: on other machines, in the folder that they share with this one."""
    shared = home() / "progress" if experiment.runner.kind == "dask" else None
    if shared is not None:
        shared.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="augpipe-progress-", dir=shared)


@contextmanager
def started(experiment: Experiment, fresh: bool = False) -> Iterator[Started]:
    """Everything that a flow needs; ends with it. UserError if a server does not answer.

    Workers and threads are those of the whole comparison for every command: results depend on the number of threads, and
    one command is to reuse what another computed. fresh: no result of an earlier run is reused. After a flow that ends well
    the store is cut to its limit.
    """
    require(experiment.runner.devices, experiment.runner.device)
    tasks = len(experiment.seeds) * len(experiment.arms)
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
        context = _context(experiment, store, Path(progress), threads, fresh)
        yield Started(experiment, context, workers)
    # The run is done and told; what cannot be taken away is another's, or goes next time.
    with suppress(OSError):
        prune(store, limit=limit)
