"""Prefect's server and workers of one run: started if none are configured, stopped with the run."""

from __future__ import annotations

import multiprocessing
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from json import JSONDecodeError
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from augpipe.core.errors import RunError, UserError, cause, one_line
from augpipe.core.home import home, make_folder
from augpipe.core.processes import ignore_terminal

from .connections import within
from .memory import watch_limit
from .quiet import quiet_logs
from .server import server
from .server_watch import HURRY, continue_without, cut_off, how_lost, is_lost, watched
from .signals import ignored, when_stopped

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from augpipe.pipeline.runner import Runner

STUBBORN: Final = 2.0  # seconds that workers may take to end
PATIENCE: Final = 10.0  # seconds to wait for an answer
# The server has been asked for its version. A worker that starts after its loss would fail at the question.
WATCHED: Final = {"PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false"}
# One for each open block of `prefect_api`. Of the process, as the environment variables are that the blocks set; its
# child processes, which inherit the variables, have no block.
_open: list[int] = []


def settle() -> None:
    """Set Prefect's home to a folder below AUGPIPE_HOME; call before Prefect is imported.

    A Prefect home or profile of the user takes precedence. Matplotlib's font cache goes below AUGPIPE_HOME too, so that
    a run leaves nothing in the user's home.
    """
    if "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = _below_home("matplotlib")
    if "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect").exists():
        os.environ["PREFECT_HOME"] = _below_home("prefect")


def _below_home(name: str) -> str:
    """A folder below AUGPIPE_HOME, created for its user only; a library would create both for all to read."""
    place = home() / name
    try:
        make_folder(place)
    except OSError as error:
        raise UserError(f"cannot write to {place}: {error.strerror}") from None
    return str(place)


@contextmanager
def prefect_api(page: bool = False, meanwhile: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Provide Prefect's API and yield its address: `PREFECT_API_URL` if set, else a temporary server on loopback.

    page: serve Prefect's page too, at its default port. Prefect would start a server by itself, but one more in each
    worker process. meanwhile: called once, while the temporary server starts in its own process. UserError if the
    configured server does not answer.
    """
    configured = check_api()
    if configured:
        meanwhile()
        # A service waits longer, as Prefect's client does; an outer block watches the command's own server.
        watch = nullcontext() if page or _open else watched(bare(configured), continue_without)
        stop = when_stopped(lambda: cut_off(bare(configured)))
        with watch, _variables(WATCHED), nullcontext() if _open else stop:
            yield bare(configured)
        return
    key = f"augpipe:{secrets.token_urlsafe(24)}"
    with (
        server(page, key, continue_without, meanwhile) as url,
        _key_file(key_file(url), key) if page else nullcontext(),
    ):
        # In the environment, not only in this thread's context: Prefect's own threads would not see it
        # and would start another server. Nobody can read the logs of a server that stops with the run.
        variables = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": key, "PREFECT_LOGGING_TO_API_ENABLED": "false"}
        # What a server without a page has recorded is deleted with it: no reason to wait long.
        stop = when_stopped(lambda: cut_off(url) if page else cut_off(url, HURRY / 2))
        with _variables({**variables, **WATCHED}), stop:
            yield url


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set Prefect's environment variables for the block."""
    from prefect.context import refresh_global_settings_context

    if _open and all(os.environ.get(name) == value for name, value in values.items()):
        yield  # by an outer block: reading Prefect's settings takes .3 s of processor time
        return
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    refresh_global_settings_context()
    _open.append(1)
    try:
        yield
    finally:
        _open.pop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        refresh_global_settings_context()


def key_file(url: str) -> Path:
    """Where the key of a server of ours with a page is, while it runs."""
    return home() / "prefect" / f"key-{urlsplit(url).port}"


@contextmanager
def _key_file(path: Path, key: str) -> Iterator[None]:
    """Write the key where only the user can read it; the page asks for it."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(key)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def check_api() -> str | None:
    """Address of the Prefect server that is configured, None if none is; UserError if it does not answer."""
    from prefect.settings import get_current_settings

    quiet_logs()
    configured = get_current_settings().api.url
    if configured:
        if _open and is_lost():  # that of the command itself, which names it in the environment
            raise RunError(how_lost())
        _check_api(configured)
    return configured


def _check_api(url: str) -> None:
    import httpx
    from prefect.client.orchestration import get_client

    def fault() -> Exception | None:
        with get_client(sync_client=True, httpx_settings={"timeout": PATIENCE}) as client:
            error = client.api_healthcheck()
            if error is None and not _is_version(client.api_version()):
                error = ValueError("what answers is no Prefect server")
            return error

    try:
        error = within(2 * PATIENCE, fault)
    except JSONDecodeError:  # a page, such as a login's
        error = ValueError("what answers is no Prefect server")
    except (httpx.HTTPError, TimeoutError, ValueError, RuntimeError) as raised:
        error = raised
    if error is not None:
        reason = cause(error)
        raise UserError(f"no Prefect server answers at PREFECT_API_URL {bare(url)}: {reason}")


def _is_version(answer: Any) -> bool:
    return isinstance(answer, str) and answer[:1].isdigit()


def bare(url: str) -> str:
    """A URL without user and password."""
    return bare_text(url)


def bare_text(text: str) -> str:
    """Text with user and password removed from every URL."""
    return re.sub(r"(\w+://)(?!/)\S*@", r"\1", text)


def pool(runner: Runner, workers: int, threads: int, ahead: bool = True) -> Any:
    """Prefect's task runner: `workers` processes with `threads` threads each, or the workers of a Dask scheduler.

    ahead: start the process that workers are forked from now, not with the first task.
    """
    if runner.kind == "dask":
        return _dask(str(runner.address))
    from .workers import Workers, preload

    _start_tracker()
    if ahead:
        preload(threads)
    return Workers(max_workers=workers, initializer=_init_worker, initargs=(threads,))


def _start_tracker() -> None:
    """Start Python's tracker of semaphores so that neither a lost terminal nor Ctrl-\\ ends it.

    It ignores SIGINT and SIGTERM, but no other signal; the next one would log a traceback for each semaphore it does
    not know.
    """
    with ignored(signal.SIGHUP, signal.SIGQUIT):
        resource_tracker.ensure_running()


def _dask(address: str) -> Any:
    """A Dask task runner; UserError if prefect-dask is not installed or no scheduler answers."""
    try:
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise UserError("runner.kind dask needs prefect-dask: pip install 'augpipe[distributed]'") from None
    try:
        with Client(address, timeout=PATIENCE, set_as_default=False) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
    except (OSError, TimeoutError, ValueError) as error:
        reason = one_line(error)[:200]
        raise UserError(f"no Dask scheduler answers at runner.address {address}: {reason}") from None
    if not workers:
        raise UserError(f"the Dask scheduler at runner.address {address} has no workers")
    # Dask repeats the tasks of a worker that died on others, a limited number of times.
    return DaskTaskRunner(address=address)


def _init_worker(threads: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    ignore_terminal()
    from .workers import THREADS

    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    quiet_logs(worker=True)
    watch_limit()


def _end_with(parent: BaseProcess) -> None:
    """End this worker when the run ends, even if it was killed and the worker is in the middle of a task."""
    parent.join()
    os._exit(1)


def stop_workers() -> None:
    """Terminate this process's workers at once, without waiting for tasks."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    threading.Thread(target=_kill_late, args=(workers,), daemon=True).start()
    _close_call_queue()


def _kill_late(workers: Sequence[BaseProcess]) -> None:
    """Kill the workers that SIGTERM has not ended after STUBBORN seconds, as a stopped one,
    and the process they are forked from.
    """
    time.sleep(STUBBORN)
    late = [worker for worker in workers if worker.is_alive()]
    for worker in late:
        worker.kill()
    parent = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if late and parent is not None:  # it tells this process that they have ended
        with suppress(ProcessLookupError):
            os.kill(parent, signal.SIGKILL)


def _close_call_queue() -> None:
    """Close the queue of calls to dead workers: before 3.11.6 Python waits for it forever (gh-94777).

    Later Pythons close it themselves, in another thread: closed twice at once, one of the two fails, or closes a file
    that was opened in between.
    """
    if sys.version_info >= (3, 11, 6):
        return
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    executor = getattr(context.task_runner if context else None, "_executor", None)
    queue = getattr(executor, "_call_queue", None)
    if queue is not None:
        queue._reader.close()
