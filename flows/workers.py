"""Worker processes, forked from one process that has imported what all of them need.

New processes would each import Prefect, torch and scikit-learn, for some 8 s of processor time and 400 MB.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context, util
from typing import Any, Final, Self

from prefect.task_runners import ProcessPoolTaskRunner

from augpipe.core.processes import FROM_TERMINAL

from .signals import ignored

THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
FORKED: Final = "AUGPIPE_FORKED"  # environment variable of the process that is forked
FORKS: Final = sys.platform == "linux"  # elsewhere, system libraries do not survive a fork
# Threads of the process that is forked, once it runs: Python has one such process (`multiprocessing.forkserver`).
_running: list[int] = []


class Workers(ProcessPoolTaskRunner):
    """Prefect's task runner, whose workers are forked from one process.

    `preload` starts that process ahead of the first task; else the first task does: a run whose results are all cached
    needs none.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        executor: Any = self._executor
        # Prefect submits from threads of its own, so that `self.submit` never sees the error.
        executor.submit = _submitting(executor.submit)
        return self

    def submit(self, *args: Any, **options: Any) -> Any:
        """As Prefect's; called from the flow's thread, in which signals can be set."""
        threads = self._initargs[0]
        preload(threads)
        if _running == [threads]:
            executor: Any = self._executor
            executor._mp_context = get_context("forkserver")  # Prefect's own is always "spawn"
        return super().submit(*args, **options)


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    """`submit`, raising BrokenProcessPool if the process that workers are forked from was killed."""

    def checked(*args: Any, **options: Any) -> Any:
        try:
            return submit(*args, **options)
        except (ConnectionError, EOFError, FileNotFoundError) as error:  # the last: its socket was deleted
            raise BrokenProcessPool("the process that workers are forked from has ended") from error

    return checked


def preload(threads: int) -> None:
    """Start the process that is forked; it computes nothing, so that no library of it has threads or a device."""
    if not FORKS or _running:
        return
    get_context("forkserver").set_forkserver_preload([f"{__package__}.preloaded"])
    # OpenBLAS reads its number of threads when it is loaded.
    variables = {**dict.fromkeys(THREADS, str(threads)), FORKED: "1"}
    # Only the run handles Ctrl-C and Ctrl-\\, and stops its workers.
    with _variables(variables), ignored(*FROM_TERMINAL):
        try:
            forkserver.ensure_running()
        except OSError:
            return  # below a long TMPDIR its socket cannot have its path; workers are new processes then
    _running.append(threads)
    atexit.register(_end_preloaded, os.getpid())


def _end_preloaded(owner: int) -> None:
    """End the process that is forked, which looks for the end of the command only when it has imported all: seconds
    after a run that needed no worker. owner: the process that started it."""
    process = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if process is not None and os.getpid() == owner:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    # Python reports with a traceback that a folder which was deleted, with all of TMPDIR, cannot be.
    for removal in list(util._finalizer_registry.values()):  # type: ignore[attr-defined]
        if any(isinstance(one, str) and not os.path.lexists(one) for one in removal._args):
            removal.cancel()


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
