"""Set up what every flow needs: a reachable tracking store, a progress folder, Prefect's API, workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from prefect import Flow

from augpipe.core.device import require
from augpipe.core.errors import FULL_WORDS, UserError
from augpipe.core.files import scratch
from augpipe.core.home import home, make_folder, make_home, store_limit
from augpipe.core.store import Store
from augpipe.pipeline.context import Context, workers_and_threads
from augpipe.pipeline.experiment import Experiment
from augpipe.pipeline.pruning import TRACKED, prune, running, size_below_home

from .connections import drips_cut, is_http
from .engine import check_api, pool, prefect_api, stop_workers
from .flow_calls import call
from .home_watch import home_watched
from .output import report
from .progress import working
from .server_watch import cut_off
from .signals import when_stopped
from .tracking.store import check_store, tracking_uri

PROGRESS: Final = "augpipe-progress"  # name of the folder of progress files
MIN_FREE: Final = 10 * 2**20  # bytes: empty databases of Prefect and MLflow
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Started:
    """Settings of a started flow. context: for its stages. workers: number of processes, each with context.threads.

    cached: whether the flow will compute nothing, as far as the cache shows before it starts; its workers then start
    only if a task needs one.
    """

    experiment: Experiment
    context: Context
    workers: int
    cached: Callable[[], bool] = lambda: False

    def call(self, flow: Flow[P, R], name: str, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the flow with that run name and its worker pool, on a Prefect server; see `flow_calls.call`."""
        cached: list[bool] = []

        def meanwhile() -> None:
            tracking_uri()  # creates the default store, which takes seconds
            cached.append(self.cached())
            if cached[0]:  # the report is next; its plotting libraries take seconds
                import_module("augpipe.report.page")

        with ExitStack() as stack:
            with working("starting"):
                stack.enter_context(prefect_api(meanwhile=meanwhile))
            runner = pool(self.experiment.runner, self.workers, self.context.threads, ahead=not cached[0])
            named = flow.with_options(task_runner=runner, flow_run_name=f"{self.experiment.name}: {name}")
            return call(named, *args, **kwargs)


def check_room() -> None:
    """UserError if the disk of AUGPIPE_HOME has less than MIN_FREE bytes free."""
    place = make_home()
    free = shutil.disk_usage(place).free
    if free < MIN_FREE:
        raise UserError(f"{FULL_WORDS[0]}: {place} has {free / 1e6:.1f} MB left")


@contextmanager
def local_context(experiment: Experiment) -> Iterator[Context]:
    """A context for stages that run in this process, before workers start."""
    store = Store(home() / "store")
    check_room()
    _, threads = workers_and_threads(experiment.runner, 1)
    with _run(store), scratch(PROGRESS) as progress:
        yield _context(experiment, store, progress, threads)


@contextmanager
def _run(store: Store) -> Iterator[None]:
    """Hold the store's lock, and watch what a run depends on; without AUGPIPE_HOME all that workers compute is lost."""
    tracking = os.environ.get("MLFLOW_TRACKING_URI", "")
    stop = when_stopped(partial(cut_off, tracking)) if is_http(tracking) else nullcontext()
    with running(store) as lock, home_watched(lock, stop_workers), drips_cut(tracking), stop:
        yield


def _context(experiment: Experiment, store: Store, progress: Path, threads: int, fresh: bool = False) -> Context:
    runner = experiment.runner
    context = Context(
        root=store.root,
        device=runner.device,
        precision=runner.precision,
        threads=threads,
        fresh=fresh,
        progress=progress,
    )
    # A Dask worker may run on another machine, so `auto` is resolved there.
    return context if runner.kind == "dask" else context.resolved()


def _progress(experiment: Experiment) -> AbstractContextManager[Path]:
    """The folder of progress files; with Dask below AUGPIPE_HOME, which all machines share."""
    shared = home() / "progress" if experiment.runner.kind == "dask" else None
    if shared is not None:
        make_folder(shared)
    return scratch(PROGRESS, shared)


@contextmanager
def started(experiment: Experiment, fresh: bool = False) -> Iterator[Started]:
    """Provide what a flow needs. UserError if a configured server does not answer; one of our own starts with the flow.

    Every command uses the number of workers and threads of the whole comparison: results depend on the number of
    threads, and commands reuse each other's results. fresh: reuse no result of an earlier run. After a successful flow
    the store is pruned to its limit.
    """
    require(experiment.runner.devices, experiment.runner.device)
    tasks = len(experiment.seeds) * len(experiment.arms)
    workers, threads = workers_and_threads(experiment.runner, tasks)
    check_store()
    check_api()
    store = Store(home() / "store")
    limit = store_limit()
    check_room()
    with _run(store), _progress(experiment) as progress:
        context = _context(experiment, store, progress, threads, fresh)
        yield Started(experiment, context, workers)
    # The run is complete; files that cannot be removed now belong to another user, or go next time.
    with suppress(OSError):
        prune(store, limit=limit)
        _note_size(limit)


def _note_size(limit: int) -> None:
    """Say that tracked runs take more than the store may; they are the user's records, so no run deletes them."""
    size = size_below_home(*TRACKED)
    if size > limit:
        report(
            f"tracked runs below {home()} take {size / 1e6:,.0f} MB, more than AUGPIPE_STORE_LIMIT; augpipe cache "
            "prune --older-than 90d --runs deletes old ones"
        )
