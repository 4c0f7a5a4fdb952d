"""Whether a process is alive, by a lock that it holds, or by a name that no later process shares;
and its environment.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from augpipe.core.home import make_folder

FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)


@contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable of this process while the block runs."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def ignore_terminal() -> None:
    """Ignore Ctrl-C and Ctrl-\\, which a terminal sends to every process of a command: its first process handles them,
    and stops this one.
    """
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a lock on a file while the block runs. When the process ends, even by SIGKILL, the system frees the lock."""
    make_folder(path.parent)
    lock = FileLock(path)
    with lock:
        while not path.exists():  # deleted by `is_held` of another process between its creation and the lock
            lock.release()
            lock.acquire()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock; a file that none holds is deleted."""
    try:
        with FileLock(path, blocking=False):
            path.unlink(missing_ok=True)
    except Timeout:
        return True
    return False


def this_process() -> str:
    """Machine, process number and start time as one line."""
    return f"{_place()} {os.getpid()} {_started(os.getpid())}"


def is_here(process: str) -> bool:
    """Whether a process is of this machine and container, so that `is_dead` can tell."""
    return process.partition(" ")[0] == _place()


def is_dead(process: str) -> bool:
    """Whether a process has ended; one of another machine or container counts as alive."""
    place, _, rest = process.partition(" ")
    pid, _, started = rest.partition(" ")
    return place == _place() and _has_ended(pid, started)


def mark() -> str:
    """This process as part of a file name: `8 digits of the machine's digest-number-start time`."""
    return f"{_digest()}-{os.getpid()}-{_started(os.getpid())}"


def is_mark_of_dead(text: str) -> bool:
    """Like `is_dead`, for what `mark` returned; False for any other text."""
    place, _, rest = text.partition("-")
    pid, _, started = rest.partition("-")
    return place == _digest() and _has_ended(pid, started)


def _digest() -> str:
    return hashlib.sha256(_place().encode()).hexdigest()[:8]


def _has_ended(pid: str, started: str) -> bool:
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(pid)) != started


@cache
def _place() -> str:
    """Host, machine and container: process numbers are valid only within one of these."""
    machine = Path("/etc/machine-id")
    try:
        known = machine.read_text().strip()
    except OSError:
        known = ""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return "/".join(["".join(socket.gethostname().split()), known, space])


def _started(pid: int) -> str:
    """Start time of the process in clock ticks since boot; "" if unknown."""
    try:
        # The name, in brackets, may contain spaces; the start time is the 22nd field (proc(5)).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
