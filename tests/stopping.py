"""Flows of which a process is ended:
a worker that has more waiting for it than a pipe holds, and the process that is forked.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from tracked import prefect

from augpipe.pipeline.runner import Runner
from flows import workers
from flows.engine import pool, stop_workers
from flows.workers import preload


@task(cache_policy=NO_CACHE, persist_result=False)
def sleep(place: Path, data: bytes) -> None:
    """Says that it is there, and goes on."""
    (place / "begun").touch()
    time.sleep(600)


@flow
def full(place: Path) -> None:
    """PLACE/closed gets an x each time that the queue of calls is closed.

    PLACE/forked: threads of the process that workers are forked from, before and after the first task is submitted.
    """
    before = list(workers._running)
    sleep.submit(place, bytes(10**6))
    (place / "forked").write_text(f"{before} {workers._running}")
    for _ in range(5):
        sleep.submit(place, bytes(10**6))
    while not (place / "begun").exists():
        time.sleep(0.05)
    time.sleep(1)  # the others are on their way
    context: Any = FlowRunContext.get()
    reader = context.task_runner._executor._call_queue._reader
    close = reader._close

    def slowly() -> None:
        with (place / "closed").open("a") as log:
            log.write("x")  # by this thread, or by that of Python, which sees the workers die
        time.sleep(1)
        close()

    reader._close = slowly
    stop_workers()
    raise RuntimeError("stopped")


def stop(place: Path) -> None:
    """Run the flow with one worker, which is not prepared ahead of its tasks."""
    with prefect():
        full.with_options(task_runner=pool(Runner(device="cpu"), 1, 1, ahead=False))(place)


@flow
def forked(place: Path) -> None:
    sleep.submit(place, b"").result()


def lose(place: Path) -> None:
    """Run a flow while the process that workers are forked from is killed:
    after a worker is requested, before it starts.
    """
    preload(1)
    process: int = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(process, signal.SIGSTOP)
    read = forkserver.read_signed

    def killed(answer: int) -> Any:
        os.kill(process, signal.SIGKILL)
        return read(answer)

    forkserver.read_signed = killed
    with prefect():
        forked.with_options(task_runner=pool(Runner(device="cpu"), 1, 1))(place)


def forked_below(place: Path) -> list[int]:
    """Threads of the process that workers are forked from,
    if it can be started with this temporary folder; else none.
    """
    tempfile.tempdir = str(place)
    preload(1)
    return workers._running
