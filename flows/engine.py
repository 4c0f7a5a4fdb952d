"""Prefect's server and workers of one run: started if none are configured, stopped with the run."""

from __future__ import annotations

import http.client
import logging
import multiprocessing
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from augpipe.core.errors import FULL_WORDS, RunError, UserError, is_full
from augpipe.core.home import home, make_home

from .databases import copy_database, from_template, prefect_folder, prefect_template

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from augpipe.pipeline.experiment import Runner

START_UP: Final = 120.0  # seconds a server may take on a loaded machine
PAGE: Final = 4200  # the default port of Prefect's page
PATIENCE: Final = 10.0  # seconds to wait for an answer


def settle() -> None:
    """Set Prefect's home to a folder below AUGPIPE_HOME; call before Prefect is imported.

    A Prefect home or profile of the user takes precedence. Matplotlib's font cache goes below AUGPIPE_HOME too, so that
    a run leaves nothing in the user's home.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(home() / "matplotlib"))
    if "PREFECT_HOME" in os.environ or (Path.home() / ".prefect").exists():
        return
    place = home() / "prefect"
    try:
        make_home()
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {place}: {error.strerror}") from None
    os.environ["PREFECT_HOME"] = str(place)


@contextmanager
def prefect_api(page: bool = False) -> Iterator[str]:
    """Provide Prefect's API and yield its address: `PREFECT_API_URL` if set, else a temporary server on loopback.

    page: serve Prefect's page too, at its default port. Prefect would start a server by itself, but one more in each
    worker process. UserError if the configured server does not answer.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs", "mlflow.store.db.utils"):
        logging.getLogger(name).addFilter(_not_the_users_mistakes)
    configured = get_current_settings().api.url
    if configured:
        _check_api(configured)
        yield bare(configured)
        return
    key = f"augpipe:{secrets.token_urlsafe(24)}"
    with _server(page, key) as url, _key_file(key_file(url), key) if page else nullcontext():
        # In the environment, not only in this thread's context: Prefect's own threads would not see it
        # and would start another server. Nobody can read the logs of a server that stops with the run.
        variables = {
            "PREFECT_API_URL": url,
            "PREFECT_API_AUTH_STRING": key,
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
        }
        os.environ.update(variables)
        refresh_global_settings_context()
        try:
            yield url
        finally:
            for name in variables:
                del os.environ[name]
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


def _check_api(url: str) -> None:
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
    """A URL without user and password."""
    return bare_text(url)


def bare_text(text: str) -> str:
    """Text with user and password removed from every URL."""
    return re.sub(r"(\w+://)(?!/)\S*@", r"\1", text)


@contextmanager
def _server(page: bool, key: str) -> Iterator[str]:
    """Run a Prefect server on loopback for the duration of the block; it answers only those who have the key.

    It has its own process session: Ctrl-C in the terminal stops the run, and the run stops the server. If the run is
    killed, the server ends by itself. Its database is deleted with the run, because nobody can look at it then; that of a
    server with a page stays below AUGPIPE_HOME.
    """
    place = home() / "prefect"
    port = _port(PAGE if page else 0)
    with prefect_folder(place, keep=page) as folder:
        database, template = folder / "prefect.db", prefect_template(place)
        if not database.exists():
            from_template(database, template)
        fresh = not database.exists()
        process = _start_server(port, page, database, key)
        try:
            _wait_for(port, process)
            if fresh:
                copy_database(database, template)
            yield f"http://127.0.0.1:{port}/api"
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _start_server(port: int, page: bool, database: Path, key: str) -> subprocess.Popen[bytes]:
    variables = {
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_UI_ENABLED": str(int(page)),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_API_AUTH_STRING": key,
        # No other page in the user's browser may ask it for anything.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
    }
    if not page:
        # Any value turns it on: no page, and no services that start scheduled runs.
        variables["PREFECT__SERVER_EPHEMERAL"] = "1"
    script = Path(__file__).with_name("server_process.py")
    command = [sys.executable, str(script), "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    # A terminated worker leaves its connection open.
    command += ["--lifespan", "on", "--timeout-graceful-shutdown", "1"]
    return subprocess.Popen(
        command, env={**os.environ, **variables}, start_new_session=True, stdin=subprocess.PIPE
    )


def _port(wanted: int) -> int:
    """The wanted port if it is free on loopback, else any free port. 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _port(0)
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers; RuntimeError if it exits or needs more than START_UP seconds."""
    until = time.monotonic() + START_UP
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Prefect's server exited with status {process.returncode}")
        # Not httpx, which reads all root certificates for each client, also for plain HTTP.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/api/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError(f"Prefect's server did not answer within {START_UP:.0f} s")


def _not_the_users_mistakes(record: logging.LogRecord) -> bool:
    """Logging filter: drop user errors and full disks, which the command reports in one line without a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    line = str(record.msg)
    return not (
        isinstance(error, UserError | RunError) or is_full(error) or "UserError" in line
        or any(words in line for words in FULL_WORDS)
    )  # fmt: skip


def workers_and_threads(runner: Runner, jobs: int) -> tuple[int, int]:
    """Number of worker processes, at most one per job, and threads of each; by default the cores are divided evenly."""
    from augpipe.pipeline.context import workers_and_threads as shared  # imports torch

    return shared(runner, jobs)


def pool(runner: Runner, workers: int, threads: int) -> Any:
    """Prefect's task runner: `workers` processes with `threads` threads each, or the workers of a Dask scheduler."""
    if runner.kind == "dask":
        return _dask(str(runner.address))
    from prefect.task_runners import ProcessPoolTaskRunner

    return ProcessPoolTaskRunner(max_workers=workers, initializer=_init_worker, initargs=(threads,))


def _dask(address: str) -> Any:
    """A Dask task runner; UserError if prefect-dask is not installed or no scheduler answers."""
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
        cause = " ".join(str(error).split())[:200]
        raise UserError(f"no Dask scheduler answers at runner.address {address}: {cause}") from None
    if not workers:
        raise UserError(f"the Dask scheduler at runner.address {address} has no workers")
    # Dask repeats the tasks of a worker that died on others, a limited number of times.
    return DaskTaskRunner(address=address)


def _init_worker(threads: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Ctrl-C reaches every process of the terminal. Only the run handles it and stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    logging.getLogger("prefect.task_runs").addFilter(_not_the_users_mistakes)


def _end_with(parent: BaseProcess) -> None:
    """End this worker when the run ends, even if it was killed and the worker is in the middle of a task."""
    parent.join()
    os._exit(1)


def stop_workers() -> None:
    """Terminate this process's workers at once, without waiting for tasks."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    _close_call_queue()


def _close_call_queue() -> None:
    """Close the queue of calls to dead workers: before 3.11.6 Python waits for it forever (gh-94777)."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    executor = getattr(context.task_runner if context else None, "_executor", None)
    queue = getattr(executor, "_call_queue", None)
    if queue is not None:
        queue._reader.close()
