"""A stage's result as a task hands it on: Prefect shows what was recalled as `Cached`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar, cast

from prefect.states import Completed

from augpipe.pipeline import cache as caching
from augpipe.pipeline.records import Job

P = ParamSpec("P")
T = TypeVar("T")
RECALLED: Final = "Cached"


def once(stage: Callable[Concatenate[Job, P], T], job: Job, *inputs: P.args, **more: P.kwargs) -> T:
    """The stage's result, made or recalled. A task that returns this ends in a state that says which."""
    found = caching.once(stage, job, *inputs, **more)
    # Prefect takes a state that a task returns for the task's own, and its data for the result.
    return cast(T, Completed(name=RECALLED, data=found.value) if found.recalled else found.value)
