"""Serve `refresh` as a Prefect deployment, with a schedule and the config as its parameter."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

from prefect.client.schemas.schedules import CronSchedule
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from augpipe.core.errors import RunError, UserError
from augpipe.pipeline.experiment import Experiment

from .cron import ADVICE
from .engine import key_file, prefect_api
from .flow_calls import UNREACHABLE, unreachable
from .output import report
from .quiet import nothing
from .refresh import refresh
from .server import POLL, RESTARTS, restart_log
from .server_watch import hush, is_away, is_lost
from .signals import received, terminated


class _Runner(Runner):
    """Prefect's, which ends at SIGTERM as the other commands do; its own exit status is 0."""

    def handle_sigterm(self, number: int, frame: FrameType | None) -> None:
        terminated(number, frame)


def serve(experiment: Experiment, cron: str | None, out: Path | None) -> None:
    """Register the deployment `refresh/NAME` and execute its scheduled runs, one at a time, until stopped.

    Starts a Prefect server with its page if none is configured. UserError for an invalid schedule.
    """
    if cron is not None:
        try:
            CronSchedule(cron=cron)
        except ValidationError:
            raise UserError(f"{ADVICE}; got {cron!r}") from None
    with prefect_api(page=True) as address:
        is_local = "PREFECT_API_AUTH_STRING" in os.environ and key_file(address).exists()
        key = f" (its page asks for the key in {key_file(address)})" if is_local else ""
        schedule = f"at {cron!r}" if cron else "on request"
        report(f"serving refresh/{experiment.name} {schedule}; Prefect at {address}{key}")
        with _one_line(address, sum(RESTARTS) if is_local else 0.0):
            _register_and_run(experiment, cron, out)


@contextmanager
def _one_line(address: str, wait: float) -> Iterator[None]:
    """RunError if the block fails because the server is away; waits so many seconds for the end of its restarts."""
    try:
        yield
    except Exception as error:
        # While it is started again another server may have its port, and answers what it likes.
        if received() is not None or not (is_lost() or is_away() or unreachable(error)):
            raise
        if is_lost(wait):
            raise RunError(
                f"Prefect's server ended and could not be started again in {len(RESTARTS)} tries; {restart_log()} says "
                "why"
            ) from None
        raise RunError(f"{UNREACHABLE} at {address}") from None


def _register_and_run(experiment: Experiment, cron: str | None, out: Path | None) -> None:
    runner = _Runner(name=experiment.name, limit=1)
    runner.add_flow(
        refresh,
        name=experiment.name,
        cron=cron,
        parameters=parameters(experiment, out),
        description="If the source changed, runs the comparison again and promotes the better model.",
        # A module path: a file path would be resolved from the folder where the command was run.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # Its watch for cancellations reports each loss of the server with a traceback.
    logging.getLogger("prefect.FlowRunCancellingObserver").addFilter(nothing)
    warnings.filterwarnings("ignore", "coroutine 'Runner", RuntimeWarning)
    with redirect_stdout(None):  # where Prefect prints tracebacks of a server that is away
        asyncio.run(_run(runner))


async def _run(runner: Runner) -> None:
    """Execute what is due until a signal ends the command; RuntimeError if the server has ended for good."""
    serving = asyncio.ensure_future(runner.start())
    while not is_lost():
        done, _ = await asyncio.wait([serving], timeout=POLL)
        if done:
            return serving.result()
    hush()
    runner.pause_on_shutdown = False  # the schedules are the server's
    serving.cancel()
    await asyncio.wait([serving])
    raise RuntimeError("the server is lost")


def parameters(experiment: Experiment, out: Path | None) -> dict[str, Any]:
    """The flow's parameters as plain values, as a deployment stores them."""
    values = {"config": experiment.model_dump(mode="json")}
    return values if out is None else {**values, "out": str(out.absolute())}
