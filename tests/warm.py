"""The command in a process that is forked from one which has imported everything: it starts in milliseconds.

Importing torch, Prefect and MLflow takes some 7 s of processor time, for the command and again for each of its workers.
Here one process a session imports them, and each command is forked from it into a session, a folder and an environment
of its own; the workers it starts are forked before it begins, so that they are its own children as always. Prefect's
server is one a session, and MLflow's empty database is copied. What a fresh user's process does is what `alone=True`
of `tiny.augpipe` runs.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pickle
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
WORKERS = 3  # forked ahead for each command; what it starts beyond them are new processes
TESTS = str(Path(__file__).parent)
FDS = 64
# What the command and its workers import, some of it when they first need it; names that there are not do no harm.
LATER = (
    "flows.cli",
    "flows.balance",
    "flows.compare",
    "flows.deployment",
    "flows.inspection",
    "flows.refresh",
    "flows.train",
    "alembic.autogenerate",
    "flows.serving",
    "flows.challenge",
    "augpipe.data.inspect",
    "augpipe.report.inspection",
    "augpipe.pipeline.graph",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "prefect.concurrency.sync",
    "prefect_dask",
    "distributed.cli.dask_scheduler",
    "distributed.cli.dask_worker",
    "scipy.signal",
    "sqlalchemy.dialects.sqlite",
    "torch._dynamo",
    "torch._inductor.config",
    "torch.distributed",
    "torchmetrics",
    "torchvision.transforms.v2",
    "opentelemetry.sdk.trace",
)
IDLE = ("uvicorn", "mlflow.cli", "mlflow.server.fastapi_app")  # while no command waits: for servers


def end_with_parent() -> None:
    """Linux: this process is killed when its parent ends, however that ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# The server: forks.


def serve(place: Path) -> None:
    """Fork a process for each connection to PLACE/socket, until standard input ends."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `flows` is installed under another name
    from flows.environment import set_environment

    set_environment()
    gc.disable()  # nor is what is imported ever looked at for garbage: it stays shared between the forks
    for name in LATER:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from augpipe.core import fingerprints
    from augpipe.core.registry import kinds_in
    from augpipe.generators.options import FAMILIES

    fingerprints.fingerprint(["augpipe.pipeline.graph", *(f"{FAMILIES}.{kind}" for kind in kinds_in(FAMILIES))])
    gc.freeze()
    _empty_databases(place)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "socket"))
    listener.listen()
    later = list(IDLE)
    while True:
        ready, _, _ = select.select([listener, 0], [], [], 0 if later else None)
        if not ready:
            importlib.import_module(later.pop(0))
            gc.freeze()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            end_with_parent()
            listener.close()
            _watch(connection)
        connection.close()


def _empty_databases(place: Path) -> None:
    """PLACE/mlflow.db and PLACE/prefect.db as MLflow and Prefect create them, each by a process that ends.

    This one stays without threads. Prefect's takes seconds and is waited for by those who need it: it appears whole.
    """
    pids = []
    for create in (_empty_mlflow, _empty_prefect):
        if (pid := os.fork()) == 0:
            end_with_parent()
            _end(create, place)
        pids.append(pid)
    os.waitpid(pids[0], 0)


def _empty_mlflow(place: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{place / 'mlflow.db'}").search_experiments()


def _empty_prefect(place: Path) -> None:
    import asyncio

    draft = place / "draft.db"
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{draft}"
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())
    with contextlib.closing(sqlite3.connect(draft)) as base:
        base.execute("pragma journal_mode=delete")  # all of it in one file
    draft.rename(place / "prefect.db")


def _watch(connection: socket.socket) -> None:
    """Run one command in a child and send its number, then its exit status."""
    size, fds, _, _ = socket.recv_fds(connection, 8, FDS)
    if not size:
        os._exit(0)
    asked = json.loads(_exactly(connection, int.from_bytes(size)))
    if (pid := os.fork()) == 0:
        end_with_parent()
        connection.close()
        os.setsid()
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        _become(asked["environment"])
        os.chdir(asked["place"])
        _end(WHAT[asked["what"]], asked["arguments"])
    connection.sendall(pid.to_bytes(8))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(status.to_bytes(8, signed=True))
    os._exit(0)


def _become(environment: dict[str, str]) -> None:
    gc.enable()
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    random.seed()
    import numpy as np

    np.random.seed()


def _end(what: Any, *given: Any) -> None:
    """Call it as the last thing that this process does."""
    status = 1
    try:
        what(*given)
        status = 0
    except SystemExit as error:
        code = error.code
        status = code if isinstance(code, int) else 0 if code is None else 1
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            import multiprocessing.util

            multiprocessing.util._exit_function()
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _command(arguments: Sequence[str]) -> None:
    from flows import cli
    from flows.engine import settle
    from flows.environment import set_environment

    # Tests that were started in the background ignore SIGINT and SIGQUIT, those below `nohup` SIGHUP.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    _fork_workers(WORKERS)
    if "PREFECT_API_URL" in os.environ:  # Prefect has read its settings at import
        from prefect.context import refresh_global_settings_context

        set_environment()
        settle()
        refresh_global_settings_context()
    sys.argv = ["augpipe", *arguments]
    cli.main()


def _mlflow(arguments: Sequence[str]) -> None:
    """The command `mlflow`; the server that it would start as a new process runs in this one."""
    import mlflow.server
    import uvicorn
    from mlflow.cli import cli

    def run(command: list[str], *, extra_env: dict[str, str], **_: Any) -> None:
        os.environ.update(extra_env)
        uvicorn.main(command[command.index("uvicorn") + 1 :])

    mlflow.server._exec_cmd = run
    cli(arguments)


def _dask(arguments: Sequence[str]) -> None:
    """The command `dask`."""
    from dask.cli import run_cli

    sys.argv = ["dask", *arguments]
    run_cli()


def _call(arguments: Sequence[str]) -> None:
    """A function of a module of the tests: ./call holds it, and ./result what it gives or raises."""
    workers = int(arguments[0])
    _fork_workers(workers)
    sys.path.insert(0, TESTS)
    function, given = pickle.loads(Path("call").read_bytes())
    try:
        result = True, function(*given)
    except BaseException as error:
        result = False, error
    Path("result").write_bytes(pickle.dumps(result))


WHAT = {"augpipe": _command, "mlflow": _mlflow, "dask": _dask, "call": _call}


def _fork_workers(number: int) -> None:
    """While this process has one thread: `multiprocessing` finds its next workers here in place of new processes."""
    import multiprocessing.process
    import multiprocessing.util as util

    sys.modules["__main__"] = types.ModuleType("__main__")  # what workers would import again
    multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]
    waiting: list[tuple[int, socket.socket]] = []
    for _ in range(number):
        here, there = socket.socketpair()
        if (pid := os.fork()) == 0:
            end_with_parent()
            here.close()
            for _, other in waiting:
                other.close()
            _wait_for_work(there)
        there.close()
        waiting.append((pid, here))
    spawn = util.spawnv_passfds

    def fork(path: bytes, arguments: Sequence[str], passed: Sequence[int]) -> int:
        # A worker, or the process that workers are forked from.
        code = arguments[-2] if "--multiprocessing-fork" in arguments else arguments[-1]
        if not waiting or "multiprocessing.resource_tracker" in str(code):
            return spawn(path, arguments, passed)
        pid, worker = waiting.pop(0)
        what = {"fds": list(passed), "code": code, "environment": dict(os.environ)}
        text = json.dumps(what).encode()
        socket.send_fds(worker, [len(text).to_bytes(8)], list(passed))
        worker.sendall(text)
        worker.close()
        return pid

    util.spawnv_passfds = fork


def _wait_for_work(work: socket.socket) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):  # as the run's workers do once they begin
        signal.signal(number, signal.SIG_IGN)
    size, fds, _, _ = socket.recv_fds(work, 8, FDS)
    if not size:  # the command ended without need of it
        os._exit(0)
    what = json.loads(_exactly(work, int.from_bytes(size)))
    work.close()
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD, 512) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, number in zip(aside, what["fds"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    _become(what["environment"])
    sys.argv = ["-c", "--multiprocessing-fork"]
    _end(exec, what["code"], {})


def _exactly(connection: socket.socket, n: int) -> bytes:
    text = b""
    while len(text) < n:
        piece = connection.recv(n - len(text))
        if not piece:
            raise EOFError
        text += piece
    return text


# The client: tests.


SHARED = "TESTS_WARM"  # where the test session's process is, for the processes of pytest-xdist
SHARED_PREFECT = "TESTS_PREFECT"  # and its Prefect server


class Warm:
    """The server's process, started on first use and gone with this one; or the session's."""

    def __init__(self) -> None:
        self._process = None
        if SHARED in os.environ:
            self.place = Path(os.environ[SHARED])
            return
        self.place = Path(tempfile.mkdtemp(prefix="augpipe-warm-"))
        atexit.register(shutil.rmtree, self.place, ignore_errors=True)
        home = self.place / "home"
        home.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUGPIPE", "MLFLOW"))}
        env = {**kept, "HOME": str(home), "MPLCONFIGDIR": str(home), "PREFECT_HOME": str(home)}
        with (self.place / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self.place)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
                cwd="/",
                preexec_fn=end_with_parent,
            )
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it; commands that it runs end with it."""
        if self._process is not None:
            with self._process as process:
                process.kill()

    def connect(self) -> socket.socket:
        until = time.monotonic() + 120
        while not (self.place / "socket").exists():
            ended = self._process is not None and self._process.poll() is not None
            assert not ended and time.monotonic() < until, (self.place / "log").read_text()
            time.sleep(0.05)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.place / "socket"))
        return connection


@cache
def warm() -> Warm:
    """This process's server."""
    return Warm()


def database() -> Path:
    """An empty tracking database, as MLflow makes it."""
    warm().connect().close()
    return warm().place / "mlflow.db"


def prefect_database() -> Path:
    """An empty database of Prefect's server, as that creates it."""
    warm().connect().close()
    until = time.monotonic() + 120
    while not (made := warm().place / "prefect.db").exists():
        assert time.monotonic() < until, (warm().place / "log").read_text()
        time.sleep(0.05)
    return made


@cache
def certificate() -> Path:
    """A file with a single root certificate."""
    import certifi

    end = "-----END CERTIFICATE-----\n"
    place = warm().place / "certificate.pem"
    place.write_text(Path(certifi.where()).read_text(encoding="utf-8").partition(end)[0] + end)
    return place


@cache
def prefect() -> str:
    """The address of a Prefect server for every command of this session: without its page and without a schedule."""
    from servers import wait_for

    if SHARED_PREFECT not in os.environ:
        return _start_prefect(wait=True)
    place, url = os.environ[SHARED_PREFECT].split("|")
    wait_for(f"{url}/health", Path(place) / "prefect.log")
    return url


def _start_prefect(wait: bool) -> str:
    from servers import Prefect

    place = Path(tempfile.mkdtemp(prefix="augpipe-prefect-"))
    server = Prefect(place, quiet=True, wait=wait)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    atexit.register(server.kill)
    os.environ[SHARED_PREFECT] = f"{place}|{server.url}"
    return server.url


def share() -> None:
    """Start both for the processes that pytest-xdist starts from this one, without waiting for them."""
    os.environ[SHARED] = str(warm().place)
    _start_prefect(wait=False)


@contextlib.contextmanager
def _streams() -> Iterator[tuple[Any, Any, Any]]:
    with Path(os.devnull).open("rb") as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        yield nothing, out, err


class Running:
    """A command that runs; `stdout` is what it says on either stream.
    As of `subprocess.Popen`, in so far as tests need it.
    """

    def __init__(
        self,
        place: Path,
        arguments: Sequence[str],
        environment: dict[str, str],
        streams: Sequence[Any] = (),
        what: str = "augpipe",
    ) -> None:
        self.returncode: int | None = None
        self.stdout: Any = None
        self._connection = warm().connect()
        text = {"what": what, "place": str(place), "arguments": list(arguments), "environment": environment}
        sent = json.dumps(text).encode()
        if streams:
            self._send(sent, [stream.fileno() for stream in streams])
        else:
            ours, theirs = os.pipe()
            self.stdout = os.fdopen(ours, encoding="utf-8")
            with Path(os.devnull).open("rb") as nothing:
                self._send(sent, [nothing.fileno(), theirs, theirs])
            os.close(theirs)
        self.pid = int.from_bytes(_exactly(self._connection, 8))

    def _send(self, text: bytes, fds: list[int]) -> None:
        socket.send_fds(self._connection, [len(text).to_bytes(8)], fds)
        self._connection.sendall(text)

    def wait(self, timeout: float) -> int:
        """Its exit status; it is killed if it takes longer."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int.from_bytes(_exactly(self._connection, 8), signed=True)
            except TimeoutError:
                os.killpg(self.pid, signal.SIGKILL)
                raise
            finally:
                self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait(60)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, None]:
        """What it says from now on; workers that outlive it would hold the stream open, so it is read from a thread."""
        said: list[str] = []
        reader = Thread(target=lambda: said.append(self.stdout.read()), daemon=True)
        reader.start()
        self.wait(timeout)
        reader.join(10)
        assert not reader.is_alive(), "something that the command started has outlived it"
        self.stdout.close()
        return said[0], None


def run(place: Path, arguments: Sequence[str], environment: dict[str, str], timeout: float) -> tuple[int, str, str]:
    """Exit status and both streams of the command in `place`."""
    with _streams() as streams:
        status = Running(place, arguments, environment, streams).wait(timeout)
        said = []
        for stream in streams[1:]:
            stream.seek(0)
            said.append(stream.read().decode())
        return status, said[0], said[1]


def begin(
    place: Path, function: Callable[..., Any], *arguments: Any, workers: int = 0, streams: Sequence[Any] = ()
) -> Running:
    """Call a function of a module of the tests in a forked process; so are the first processes that it spawns."""
    (place / "call").write_bytes(pickle.dumps((function, arguments)))
    return Running(place, [str(workers)], dict(os.environ), streams, "call")


def call(function: Callable[..., T], *arguments: Any, workers: int = 0) -> T:
    """What a function gives or raises in a forked process (see `begin`)."""
    with tempfile.TemporaryDirectory() as folder, _streams() as streams:
        running = begin(Path(folder), function, *arguments, workers=workers, streams=streams)
        status = running.wait(300)
        streams[2].seek(0)
        assert status == 0, streams[2].read().decode()[-3000:]
        well, value = pickle.loads(Path(folder, "result").read_bytes())
    if not well:
        raise value
    result: T = value
    return result


if __name__ == "__main__":
    sys.path.pop(0)  # this folder is on no command's path
    serve(Path(sys.argv[1]))
