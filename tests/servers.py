"""Real servers on loopback, as a team runs them: started, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx
from tiny import environment, tracking
from warm import Running, end_with_parent

START_UP = 120.0
# Not every PATH of root has /usr/sbin.
RUNUSER = shutil.which("runuser", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "runuser"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for(health: str, log: Path, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until a server answers at `health`."""
    until = time.monotonic() + START_UP
    while True:
        assert alive() and time.monotonic() < until, log.read_text()[-3000:]
        try:
            if httpx.get(health, timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)


class Server:
    """A process that answers at `health`; it has a session of its own, so that its children go with it."""

    def __init__(self, command: Sequence[str], health: str, log: Path, wait: bool = True, **env: str) -> None:
        self._command, self._health, self._log, self._env = list(command), health, log, env
        self.start(wait)

    def start(self, wait: bool = True) -> None:
        with self._log.open("ab") as log:
            self._process = self._begin(log)
        try:
            if wait:
                wait_for(self._health, self._log, lambda: self._process.poll() is None)
        except AssertionError:
            self.kill()
            raise

    def _begin(self, log: IO[bytes]) -> subprocess.Popen[bytes] | Running:
        return subprocess.Popen(
            self._command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **self._env},
            preexec_fn=end_with_parent,
        )

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)


class Mlflow(Server):
    """An MLflow server over a database, artifacts in a folder; forked, see `warm`."""

    def __init__(self, place: Path, backend: str | None = None) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            backend or tracking(place),
            "--artifacts-destination",
            str(place / "artifacts"),
        ]
        # Seven further processes, for evaluations that nothing here runs.
        super().__init__(
            command, f"{self.url}/health", place / "mlflow.log", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
        )

    def _begin(self, log: IO[bytes]) -> Running:
        with Path(os.devnull).open("rb") as nothing:
            environment = {**os.environ, **self._env}
            return Running(self.place, self._command, environment, (nothing, log, log), "mlflow")


class Prefect(Server):
    """A Prefect server over a database; quiet: without its page and without the services that start what falls due.

    empty: an empty database to copy, where it need not create its own.
    """

    def __init__(
        self,
        place: Path,
        database: str | None = None,
        quiet: bool = False,
        wait: bool = True,
        empty: Path | None = None,
    ) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        if empty is not None:
            shutil.copy(empty, place / "prefect.db")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "prefect.server.api.server:create_app",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--log-level",
            "error",
        ]
        # Any value turns the services off.
        more = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "0"} if quiet else {}
        super().__init__(
            command,
            f"{self.url}/health",
            place / "prefect.log",
            wait,
            PREFECT_HOME=str(place / "home"),
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database or f"sqlite+aiosqlite:///{place / 'prefect.db'}",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT__SERVER_FINAL="1",
            DO_NOT_TRACK="1",
            **more,
        )


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's own programs, the newest there is; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """PostgreSQL on loopback in a folder of its own, trusting whoever asks: gone with the test."""

    def __init__(self, programs: Path) -> None:
        self._programs, self.port = programs, free_port()
        # It refuses to be root's, and its folder must be its own.
        self.place = Path(tempfile.mkdtemp(prefix="augpipe-postgres-"))
        if os.getuid() == 0:
            shutil.chown(self.place, "postgres", "postgres")
        data = self.place / "data"
        self._do("initdb", "-D", str(data), "-A", "trust", "-U", "augpipe", "--no-sync", "-E", "UTF8")
        self._data = data
        where = f"-h 127.0.0.1 -p {self.port} -k {self.place}"
        self._do("pg_ctl", "-D", str(data), "-w", "-l", str(self.place / "log"), "-o", where, "start")

    def _do(self, program: str, *arguments: str) -> bytes:
        own = [RUNUSER, "-u", "postgres", "--"] if os.getuid() == 0 else []
        done = subprocess.run(
            [*own, str(self._programs / program), *arguments],
            stdout=subprocess.PIPE if program != "pg_ctl" else None,
            check=True,
            cwd="/",
        )
        return done.stdout or b""

    def database(self, name: str) -> str:
        """A new database; its address without a scheme."""
        self._do("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "augpipe", name)
        return f"//augpipe@127.0.0.1:{self.port}/{name}"

    def dump(self, name: str) -> bytes:
        """All that a database holds, as text."""
        return self._do("pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "augpipe", "--inserts", name)

    def stop(self) -> None:
        self._do("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")
        shutil.rmtree(self.place, ignore_errors=True)


class Cluster:
    """A scheduler and workers that can be killed; forked, see `warm`."""

    def __init__(self, place: Path, workers: int = 2) -> None:
        self._place = place
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._processes = [self._start("scheduler", "--port", self.address.rpartition(":")[2])]
        self.workers = [self._worker(n) for n in range(workers)]

    def _start(self, what: str, *arguments: str, at: str = "") -> Running:
        place = self._place / (at or what)
        place.mkdir(parents=True)
        command = [what, "--host", "127.0.0.1", "--no-dashboard", *arguments]
        with (place / "log").open("wb") as log, Path(os.devnull).open("rb") as nothing:
            return Running(place, command, environment(place), (nothing, log, log), "dask")

    def _worker(self, n: int) -> Running:
        # No nanny, that would start a killed worker again: as with a machine that is gone.
        return self._start(
            "worker",
            self.address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--name",
            f"w{n}",
            "--local-directory",
            str(self._place / f"scratch-{n}"),
            at=f"worker-{n}",
        )

    def wait(self) -> None:
        until = time.monotonic() + START_UP
        for n in range(len(self.workers)):
            log = self._place / f"worker-{n}" / "log"
            while "Registered to" not in log.read_text():
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)

    def stop(self) -> None:
        for process in (*self.workers, *self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


@contextmanager
def no_server() -> Iterator[str]:
    """Address of a port that accepts connections and closes them unanswered, in place of a server of HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_all() -> None:
            with suppress(OSError):  # the block is left
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=close_all, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
