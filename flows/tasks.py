"""The one task of every flow: a stage, run through the cache.

Prefect's own cache sees a task's text, not the code below it, and writes its results in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Completed

from augpipe.pipeline import cache
from augpipe.pipeline.context import Context, silent

from .failures import DELAYS, once_more
from .progress import Reporter

CACHED: Final = "Cached"  # the state of a task whose result came from an earlier run


@task(
    task_run_name="{title}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(DELAYS),
    retry_delay_seconds=list(DELAYS),
    retry_condition_fn=once_more,
)
def run_stage(
    stage: Callable[..., Any],
    context: Context,
    inputs: tuple[Any, ...],
    title: str,
    total: float | None = None,
) -> Any:
    """A stage's result. The task ends in the state `Cached` where it was reused."""
    with reporting(context, title, total) as report:
        result = cache.run(stage, context, *inputs, report=report)
    # Prefect takes a state that a task returns as the task's own, and its data as the result.
    return Completed(name=CACHED, data=result.value) if result.reused else result.value


@contextmanager
def reporting(
    context: Context, title: str, total: float | None
) -> Iterator[Callable[[str, float], None]]:
    """Where a stage reports progress; nowhere if it has no total."""
    if context.progress is None or total is None:
        yield silent
        return
    with Reporter(context.progress, title, total) as report:
        yield report


class Submit:
    """Calls of a graph as Prefect tasks; `reused` counts the results that were found without one.

    A stage whose inputs are all known, and whose result is stored, needs no task and no worker.
    """

    def __init__(self, context: Context, timeout: float) -> None:
        self._context = context
        self._task = run_stage.with_options(timeout_seconds=timeout)
        self.reused = 0

    def __call__(
        self, stage: cache.Stage, *inputs: Any, title: str, total: float | None = None
    ) -> Any:
        """The stage's stored result, or a future."""
        if not any(_pending(value) for value in inputs):
            stored = cache.lookup(stage, self._context, *inputs)
            if stored is not None:
                self.reused += 1
                return stored
        return self._task.submit(stage, self._context, inputs, title, total)


def _pending(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_pending(item) for item in value)
    return isinstance(value, PrefectFuture)


def result_of(value: Any) -> Any:
    """A future's result; any other value as it is."""
    return value.result() if isinstance(value, PrefectFuture) else value
