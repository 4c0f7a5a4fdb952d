"""Execution context of a stage: store, device, precision, threads, progress reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from augpipe.core.errors import UserError, several
from augpipe.core.machine import cores
from augpipe.core.options import Device, Precision
from augpipe.pipeline.records import Timed
from augpipe.pipeline.runner import Runner

if TYPE_CHECKING:  # these import torch, which a key is computed without
    from augpipe.core.device import Runtime
    from augpipe.core.store import Store

Report = Callable[[str, float], None]  # a short message, and how much of the stage's total is done


def silent(message: str, done: float) -> None:
    """Report nothing."""


class Context(BaseModel, frozen=True):
    """Context passed to every stage of a run. Of its fields, results depend only on device, precision and threads.

    device, precision: `auto` is resolved where the stage runs. threads: of each process. fresh: results of earlier runs
    are not reused. progress: folder of temporary files.
    """

    root: Path  # of the store
    device: Device = "auto"
    precision: Precision = "auto"
    threads: int = 1
    fresh: bool = False
    progress: Path | None = None

    @property
    def store(self) -> Store:
        """The store that results go to."""
        from augpipe.core.store import Store

        return Store(self.root)

    def resolved(self) -> Context:
        """The same with this machine's device and precision in place of `auto`."""
        if "auto" not in (self.device, self.precision):
            return self
        from augpipe.core.device import pick_device, pick_precision

        device = pick_device(self.device)
        precision = pick_precision(device, self.precision)
        return self.model_copy(update={"device": device, "precision": precision})

    def runtime(self) -> Runtime:
        """This process's runtime; sets its number of threads."""
        from augpipe.core.device import start

        return start(self.device, self.precision, self.threads)


class Timer:
    """Stopwatch of a stage."""

    def __init__(self) -> None:
        self._began, self._start = time.time(), time.perf_counter()

    def stop(self) -> Timed:
        """Start time, and seconds since the timer was created."""
        return Timed(began=self._began, seconds=time.perf_counter() - self._start)


def check_threads(runner: Runner) -> None:
    """UserError for more threads than this process has cores: they wait for each other, and a step takes minutes.

    A Dask worker may be on another machine.
    """
    if runner.kind != "dask" and runner.threads != "auto" and runner.threads > cores():
        raise UserError(
            f"runner.threads is {runner.threads}, but this process may use {several(cores(), 'core')}: set it to at "
            "most that, or to auto"
        )


def workers_and_threads(runner: Runner, jobs: int) -> tuple[int, int]:
    """Worker processes, at most one per job, and threads of each; by default the cores are divided evenly.

    jobs: seeds times arms, for every command and for the library: results depend on the number of threads.
    """
    workers = runner.workers
    if workers == "auto":
        from augpipe.core.device import pick_device

        workers = max(1, cores() // runner.devices) if pick_device(runner.device) == "cpu" else 1
    count = max(1, min(int(workers), jobs))
    auto = 1 if runner.kind == "dask" else max(1, cores() // count)
    return count, auto if runner.threads == "auto" else runner.threads
