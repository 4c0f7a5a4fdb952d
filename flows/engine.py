"""Prefect's server and workers for one run: started where none is given, stopped with it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from augpipe.core.errors import FULL_WORDS, RunError, UserError, is_full
from augpipe.core.home import home

if TYPE_CHECKING:
    from augpipe.pipeline.experiment import Runner

START_UP: Final = 120.0  # seconds a server may take on a loaded machine
PAGE: Final = 4200  # the port at which Prefect's page is looked for
PATIENCE: Final = 10.0  # seconds to wait for an answer


def settle() -> None:
    """Give Prefect a home below ours; called before Prefect is imported.

    A home or profile that the user has stays in charge. Matplotlib's font cache goes there too: a run
    leaves nothing in the user's own home.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(home() / "matplotlib"))
    if "PREFECT_HOME" in os.environ or (Path.home() / ".prefect").exists():
        return
    place = home() / "prefect"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {place}: {error.strerror}") from None
    os.environ["PREFECT_HOME"] = str(place)


@contextmanager
def prefect_api(page: bool = False) -> Iterator[str]:
    """An API for flows, and its address: `PREFECT_API_URL` where set, else a server of our own on loopback.

    page: with Prefect's page, at the port that it is looked for at. Prefect would start a server by itself, but another
    one in each worker process as well. UserError where the one that is set does not answer.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs", "mlflow.store.db.utils"):
        logging.getLogger(name).addFilter(_not_the_users_mistakes)
    given = get_current_settings().api.url
    if given:
        _check_given(given)
        yield bare(given)
        return
    with _server(page) as url:
        # In the environment, not in this thread's context alone: Prefect's own threads would not find
        # it there, and start another server.
        os.environ["PREFECT_API_URL"] = url
        # No one looks at a server's logs that is gone with the run.
        os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
        refresh_global_settings_context()
        try:
            yield url
        finally:
            del os.environ["PREFECT_API_URL"], os.environ["PREFECT_LOGGING_TO_API_ENABLED"]
            refresh_global_settings_context()


def _check_given(url: str) -> None:
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True, httpx_settings={"timeout": PATIENCE}) as client:
            error = client.api_healthcheck()
    except (httpx.HTTPError, ValueError, RuntimeError) as raised:
        error = raised
    if error is not None:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"no Prefect server answers at PREFECT_API_URL {bare(url)}: {reason}")


def bare(url: str) -> str:
    """An address without the user and password it may hold."""
    return bare_text(url)


def bare_text(text: str) -> str:
    """Text in which no address tells its user and password, however they are written."""
    return re.sub(r"(\w+://)(?!/)\S*@", r"\1", text)


@contextmanager
def _server(page: bool) -> Iterator[str]:
    """A Prefect server on loopback with its database below our home; gone when the block ends.

    It runs in a session of its own: Ctrl-C in the terminal ends the run first, and the run ends the server.
    """
    place = home() / "prefect"
    place.mkdir(parents=True, exist_ok=True)
    port = _port(PAGE if page else 0)
    ours = {
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_UI_ENABLED": str(int(page)),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{place / 'prefect.db'}",
    }
    if not page:
        # With any value it is on: neither the page nor the services that start what is scheduled.
        ours["PREFECT__SERVER_EPHEMERAL"] = "1"
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--lifespan",
        "on",
        "--timeout-graceful-shutdown",  # a worker that was ended leaves its connection open
        "1",
    ]
    process = subprocess.Popen(command, env={**os.environ, **ours}, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/health", process)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(wanted: int) -> int:
    """A free port on loopback: the one that is wanted, where it is; 0: any."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind(("127.0.0.1", wanted))
        except OSError:
            return _port(0)
        port: int = free.getsockname()[1]
        return port


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers; RuntimeError where it ends or takes longer than START_UP."""
    import httpx

    until = time.monotonic() + START_UP
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Prefect's server ended with status {process.returncode}")
        try:
            if httpx.get(url, timeout=PATIENCE).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"Prefect's server did not answer within {START_UP:.0f} s")


def _not_the_users_mistakes(record: logging.LogRecord) -> bool:
    """Whether to log a record: a user's mistake or a full disk is told in one line at the end, without a traceback."""
    told = record.exc_info[1] if record.exc_info else None
    line = str(record.msg)
    return not (
        isinstance(told, UserError | RunError) or is_full(told) or "UserError" in line
        or any(words in line for words in FULL_WORDS)
    )  # fmt: skip


def workers_and_threads(runner: Runner, jobs: int) -> tuple[int, int]:
    """Worker processes, at most one a job, and each one's threads: its share of the cores where they are not given."""
    from augpipe.core.device import cores, pick_device  # torch: not needed for an error in a config

    workers = runner.workers
    if workers == "auto":
        workers = max(1, cores() // runner.devices) if pick_device(runner.device) == "cpu" else 1
    count = max(1, min(int(workers), jobs))
    share = 1 if runner.kind == "dask" else max(1, cores() // count)
    return count, share if runner.threads == "auto" else runner.threads


def pool(runner: Runner, workers: int, threads: int) -> Any:
    """Prefect's runner over `workers` processes of `threads` threads each, or over a Dask scheduler's workers."""
    if runner.kind == "dask":
        return _dask(str(runner.address))
    from prefect.task_runners import ProcessPoolTaskRunner

    return ProcessPoolTaskRunner(
        max_workers=workers, initializer=_begin_worker, initargs=(threads,)
    )


def _dask(address: str) -> Any:
    """UserError where prefect-dask is not installed, or no scheduler answers."""
    try:
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise UserError(
            "runner.kind dask needs prefect-dask: pip install 'augpipe[distributed]'"
        ) from None
    try:
        with Client(address, timeout=PATIENCE, set_as_default=False) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
    except (OSError, TimeoutError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise UserError(f"no Dask scheduler answers at runner.address {address}: {told}") from None
    if not workers:
        raise UserError(f"the Dask scheduler at runner.address {address} has no workers")
    # A worker that dies takes its tasks with it: they are done again elsewhere, but not for ever.
    return DaskTaskRunner(address=address)


def _begin_worker(threads: int) -> None:
    # Ctrl-C reaches every process of the terminal. The run alone answers it, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    logging.getLogger("prefect.task_runs").addFilter(_not_the_users_mistakes)


def stop_workers() -> None:
    """End this process's workers at once: a run that fails or is stopped waits for no task."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    _close_call_queue()


def _close_call_queue() -> None:
    """Let go of what waits to be sent to workers that are gone: before 3.11.6 Python waits for it for ever (gh-94777)."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    executor = getattr(context.task_runner if context else None, "_executor", None)
    queue = getattr(executor, "_call_queue", None)
    if queue is not None:
        queue._reader.close()
