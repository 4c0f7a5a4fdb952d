"""A Prefect server of the command's own: started on loopback, watched, and stopped with the command."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Final

from filelock import FileLock

from augpipe.core.errors import RunError
from augpipe.core.home import home

from .databases import copy_database, from_template, prefect_folder, prefect_template, sqlite_url
from .output import report
from .server_watch import LOST, Silence, lose, server_is_there, set_away
from .signals import received

START_UP: Final = 120.0  # seconds a server may take on a loaded machine
PAGE: Final = 4200  # the default port of Prefect's page
ANSWER: Final = 10.0  # seconds to wait for an answer
POLL: Final = 0.5  # seconds between two looks at the server's process
# Seconds before each try to start a server with a page again.
RESTARTS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
STEADY: Final = 60.0  # seconds of running after which the tries are counted anew


@contextmanager
def server(
    page: bool, key: str, on_loss: Callable[[], None], meanwhile: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """Run a Prefect server on loopback for the duration of the block; it answers only those who have the key.

    It has its own process session: Ctrl-C in the terminal stops the run, and the run stops the server. If the run is
    killed, the server ends by itself. If the server is killed, one with a page is started again (see `_Restarts`), and
    `on_loss` is called from a thread for any other; one that no longer answers is killed. Its database is deleted with
    the run, because nobody can look at it then; that of a server with a page stays below AUGPIPE_HOME. meanwhile:
    called once, while the server starts.
    """
    place = home() / "prefect"
    with prefect_folder(place, keep=page) as folder:
        database, template = folder / "prefect.db", prefect_template(place)
        running: list[subprocess.Popen[bytes]] = []
        try:
            # Servers with a page share a database, which only one may create or migrate at a time.
            with FileLock(place / ".start.lock") if page else nullcontext():
                if not database.exists():
                    from_template(database, template)
                fresh = not database.exists()
                port = _start_on_a_port(running, page, database, key, meanwhile)
                if fresh:
                    copy_database(database, template)

            def again(stopping: threading.Event) -> subprocess.Popen[bytes]:
                with FileLock(place / ".start.lock"), restart_log().open("wb") as log:
                    running[0] = _start_server(port, page, database, key, log)
                    _wait_for(port, running[0], key, stopping)
                return running[0]

            restarts = _Restarts(again)

            def lost(stopping: threading.Event, what: str) -> bool:
                if received() is not None:  # all processes are being stopped
                    return False
                if page and restarts(running[0], stopping, what):
                    return True
                if not stopping.is_set():
                    lose(what)
                    if not page:
                        on_loss()
                return False

            url = f"http://127.0.0.1:{port}/api"
            with _watched(running, url, lost):
                yield url
        finally:
            for process in running:
                _stop(process, page)


class _Restarts:
    """Starts a server again, with growing pauses;
    gives up if none of the tries gives one that runs for STEADY seconds.
    """

    def __init__(self, start: Callable[[threading.Event], subprocess.Popen[bytes]]) -> None:
        self._start, self._tries, self._since = start, 0, time.monotonic()

    def __call__(self, ended: subprocess.Popen[bytes], stopping: threading.Event, what: str = LOST) -> bool:
        """Whether it is started again; False too if the command is being stopped."""
        if time.monotonic() - self._since > STEADY or not self._tries:
            self._tries = 0
            report(f"{what}; it is started again")
        set_away(True)
        _stop(ended)
        while self._tries < len(RESTARTS):
            pause, self._tries = RESTARTS[self._tries], self._tries + 1
            if stopping.wait(pause):
                return False
            try:
                self._start(stopping)
            except (RunError, OSError):
                continue
            self._since = time.monotonic()
            set_away(False)
            return True
        return False


def restart_log() -> Path:
    """What the last server that was started again has printed."""
    return home() / "prefect" / "restart.log"


def _start_on_a_port(
    running: list[subprocess.Popen[bytes]], page: bool, database: Path, key: str, meanwhile: Callable[[], object]
) -> int:
    """Start the server and wait for it; once more if another process takes its port in between. Returns the port."""
    for attempt, wanted in enumerate((PAGE if page else 0, 0)):
        port = _port(wanted)
        running[:] = [_start_server(port, page, database, key)]
        if not attempt:
            meanwhile()
        try:
            _wait_for(port, running[0], key, threading.Event())
            break
        except RunError:
            if not wanted or running[0].poll() is None:
                raise
            _stop(running[0])
    return port


def _stop(process: subprocess.Popen[bytes], page: bool = True) -> None:
    """Stop a server; one whose database stays (`page`) may end by itself, also after a signal to the command."""
    if not page and received() is not None:
        process.kill()
    process.terminate()
    try:
        process.wait(5 if received() is None else 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


@contextmanager
def _watched(
    running: list[subprocess.Popen[bytes]], url: str, lost: Callable[[threading.Event, str], bool]
) -> Iterator[None]:
    """While the block runs, a thread waits for the server's end; `lost` returns whether it started another.

    A server that no longer answers is killed: each request to it would wait a minute. lost: called with an event that
    is set when the block ends, and with what happened.
    """
    server_is_there()
    silence, stopping = Silence(url), threading.Event()

    def watch() -> None:
        nonlocal silence
        what, last = LOST, time.monotonic()
        while not stopping.wait(POLL):
            if time.monotonic() - last > silence.pause:
                silence.ask()
                last = time.monotonic()
            if silence.is_over() and running[0].poll() is None and not stopping.is_set():
                what = f"Prefect's server of this run has not answered for {silence.limit:.0f} s"
                running[0].kill()
                running[0].wait()
            if running[0].poll() is None:
                continue
            if not lost(stopping, what):
                return
            silence, what = Silence(url), LOST

    watcher = threading.Thread(target=watch, name="server watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopping.set()
        watcher.join(ANSWER)


def _start_server(
    port: int, page: bool, database: Path, key: str, log: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    variables = {
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_UI_ENABLED": str(int(page)),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": sqlite_url(database, "aiosqlite"),
        "PREFECT_SERVER_API_AUTH_STRING": key,
        # No other page in the user's browser may ask it for anything.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
    }
    if page:  # its database stays: flow runs go after Prefect's retention period, 90 days
        variables["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] = "events,flow_runs"
    else:
        # Any value turns it on: no page, and no services that start scheduled runs.
        variables["PREFECT__SERVER_EPHEMERAL"] = "1"
    script = Path(__file__).with_name("server_process.py")
    command = [sys.executable, str(script), "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    # A terminated worker leaves its connection open.
    command += ["--lifespan", "on", "--timeout-graceful-shutdown", "1"]
    return subprocess.Popen(
        command, env={**os.environ, **variables}, start_new_session=True, stdin=subprocess.PIPE, stdout=log, stderr=log
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


def _wait_for(port: int, process: subprocess.Popen[bytes], key: str, stopping: threading.Event) -> None:
    """Wait until the server answers to its key, which another one at that port would not.

    RunError if it exits, needs more than START_UP seconds, or the command is being stopped.
    """
    until = time.monotonic() + START_UP
    access = f"Basic {base64.b64encode(key.encode()).decode()}"
    while time.monotonic() < until and not stopping.is_set():
        if process.poll() is not None:
            raise RunError(f"Prefect's server exited with status {process.returncode} while it started")
        # Not httpx, which reads all root certificates for each client, also for plain HTTP.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER)
        try:
            connection.request("GET", "/api/admin/version", headers={"Authorization": access})
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise RunError(f"Prefect's server did not answer within {START_UP:.0f} s")
