"""The task that runs a stage of a flow through the cache.

Prefect's own cache keys on a task's source text, not on the code it calls, and writes results in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Completed

from augpipe.pipeline import cache
from augpipe.pipeline.context import Context, silent

from .failures import once_more
from .progress import Reporter
from .retries import DELAYS

if TYPE_CHECKING:
    from augpipe.pipeline.graph import Call

CACHED: Final = "Cached"  # state of a task whose result was reused from cache


OPTIONS: Final[dict[str, Any]] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": len(DELAYS),
    "retry_delay_seconds": list(DELAYS),
    "retry_condition_fn": once_more,
}


@task(task_run_name="{title}", **OPTIONS)
def run_stage(
    stage: Callable[..., Any], context: Context, inputs: tuple[Any, ...], title: str, total: float | None = None
) -> Any:
    """Run a stage and return its result. The task ends in the state `Cached` if the result was reused."""
    with reporting(context, stage, title, total) as report:
        result = cache.run(stage, context, *inputs, report=report)
    # If a task returns a state, Prefect uses it as the task's state, and its data as the result.
    return Completed(name=CACHED, data=result.value) if result.reused else result.value


@contextmanager
def reporting(
    context: Context, stage: Callable[..., Any], title: str, total: float | None
) -> Iterator[Callable[[str, float], None]]:
    """The progress callback of a stage; total: see `Reporter`."""
    if context.progress is None:
        yield silent
        return
    with Reporter(context.progress, stage.__name__, title, total) as report:
        yield report


class Submit:
    """Submit the calls of a graph as Prefect tasks; `reused` counts results read from the cache without a task.

    A stage whose inputs are all known and whose result is cached needs no task and no worker.
    """

    def __init__(self, context: Context, timeout: float) -> None:
        self._context = context
        self._task = run_stage.with_options(timeout_seconds=timeout)
        self.reused = 0

    def __call__(self, stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        """The stage's cached result, or a future."""
        # A Dask worker resolves `auto`, and its machine may be another one.
        known = "auto" not in (self._context.device, self._context.precision)
        if known and not any(_pending(value) for value in inputs):
            stored = cache.lookup(stage, self._context, *inputs)
            if stored is not None:
                self.reused += 1
                return stored
        return self._task.submit(stage, self._context, inputs, title, total)


class _MissingError(Exception):
    """A result that is not in the cache."""


def all_cached(graph: Callable[[Call], object], context: Context) -> bool:
    """Whether the cache has the results of all calls of a graph; looks up to the first that is missing."""
    if "auto" in (context.device, context.precision):  # a Dask worker resolves it
        return False

    def stored(stage: cache.Stage, *inputs: Any, title: str, total: float | None = None) -> Any:
        value = cache.lookup(stage, context, *inputs)
        if value is None:
            raise _MissingError(title)
        return value

    try:
        graph(stored)
    except _MissingError:
        return False
    return True


def _pending(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_pending(item) for item in value)
    return isinstance(value, PrefectFuture)


def result_of(value: Any) -> Any:
    """A future's result; any other value unchanged."""
    return value.result() if isinstance(value, PrefectFuture) else value
