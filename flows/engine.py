"""Prefect's server and workers for one run: started where none is given, stopped with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augpipe.errors import UserError
from augpipe.runtime import Device, cores, pick_device
from augpipe.store import home


def settle() -> None:
    """Give Prefect a home below ours; called before Prefect is imported.

    A home or profile that the user has stays in charge.
    """
    if "PREFECT_HOME" in os.environ or (Path.home() / ".prefect").exists():
        return
    place = home() / "prefect"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {place}: {error.strerror}") from None
    os.environ["PREFECT_HOME"] = str(place)


@contextmanager
def prefect_api() -> Iterator[None]:
    """An API for flows: `PREFECT_API_URL` where set, else a server of our own on loopback.

    Prefect would start a server by itself, but another one in each worker process as well.
    """
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    logging.getLogger("prefect").addFilter(_not_the_users_mistakes)
    for name in ("flow_runs", "task_runs"):
        logging.getLogger(f"prefect.{name}").addFilter(_not_the_users_mistakes)
    if get_current_settings().api.url:
        yield
        return
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()
    server.start()
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            yield
    finally:
        server.stop()


def _not_the_users_mistakes(record: logging.LogRecord) -> bool:
    """Whether to log a record: a user's mistake is told in one line at the end, without a traceback."""
    told = record.exc_info
    return not (told and isinstance(told[1], UserError)) and "UserError" not in str(record.msg)


def workers_and_threads(workers: int | str, device: Device, jobs: int) -> tuple[int, int]:
    """Worker processes, at most one a job, and each one's share of the cores."""
    where = pick_device(device)
    if workers == "auto":
        workers = cores() if where == "cpu" else 1
    count = max(1, min(int(workers), jobs))
    return count, max(1, cores() // count)


def pool(workers: int, threads: int) -> Any:
    """Prefect's runner over `workers` processes of `threads` threads each."""
    from prefect.task_runners import ProcessPoolTaskRunner

    return ProcessPoolTaskRunner(
        max_workers=workers, initializer=_begin_worker, initargs=(threads,)
    )


def _begin_worker(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    logging.getLogger("prefect.task_runs").addFilter(_not_the_users_mistakes)
