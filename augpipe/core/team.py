"""Several processes on one machine that are one training: begun, watched, ended, and what comes of them (see `parallel`).

They meet over a file and speak over loopback (gloo on CPUs, NCCL on GPUs); no port is open for a stranger. None outlives
the process that began them, however that one ends.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast

import torch
from torch import distributed

from augpipe.core import device as runtime
from augpipe.core.errors import FULL_WORDS, RunError, UserError, is_full
from augpipe.core.options import Device

T = TypeVar("T")
GRACE: Final = 1.0  # seconds in which the others may tell what they failed of, once one has


class Team(NamedTuple):
    """size: processes, each with a device of its own. place: a folder to meet below, the system's temporary one by default."""

    size: int
    device: Device = "auto"
    place: str | None = None


def launch(team: Team, work: Callable[..., T], *arguments: Any) -> T:
    """What `work(*arguments)` gives in the first of the team's processes, which train together.

    `runtime.start` gives each its own device; on a machine without GPUs it has none but itself. work and arguments are
    found by name and pickled. What any of them raises first is raised here, and the others are ended. RunError where one
    is killed.
    """
    runtime.require(team.size, team.device)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="augpipe-training-", dir=team.place) as folder:
        team = team._replace(place=folder)
        processes = [
            context.Process(target=_begin, args=(rank, team, work, arguments))
            for rank in range(team.size)
        ]
        try:
            for process in processes:
                process.start()
            first, status = _join(processes)
        finally:  # a time-out, Ctrl-C or a failure of one: none goes on alone
            for process in processes:
                if process.pid is not None:
                    process.kill()
                    process.join()
        if status:
            raise _failure(Path(folder), first, status)
        return cast(T, _read(Path(folder) / "result"))


def _join(processes: Sequence[BaseProcess]) -> tuple[int, int]:
    """(0, 0) when all have ended well, else which did not, first, and its status."""
    waiting = {process.sentinel: rank for rank, process in enumerate(processes)}
    while waiting:
        for sentinel in wait(list(waiting)):
            rank = waiting.pop(cast(int, sentinel))
            processes[rank].join()
            status = processes[rank].exitcode
            if status:
                if waiting:
                    wait(list(waiting), GRACE)
                return rank, status
    return 0, 0


def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301 - of our own processes, in a folder closed to others


def _failure(folder: Path, first: int, status: int) -> BaseException:
    """What failed first: the others failed of its being gone."""
    if status < 0:
        how = signal.Signals(-status).name
        return RunError(
            f"process {first} of a training was ended by {how}; was there too little memory?"
        )
    told = []
    for path in folder.glob("error-*"):
        with suppress(Exception):  # half-written by one that was ended
            told.append(cast(tuple[int, BaseException], _read(path)))
    if told:
        return min(told, key=lambda one: one[0])[1]
    if status == errno.ENOSPC:
        return UserError(f"{FULL_WORDS[0]}: {folder.parent}")
    return RunError(f"process {first} of a training ended with status {status}")


def _begin(rank: int, team: Team, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches every process of the terminal; whoever began these answers it, and ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(str(team.place))
    try:
        _meet(rank, team)
        result = work(*arguments)
        if rank == 0:
            (folder / "result").write_bytes(pickle.dumps(result))
        _leave_together(rank, team.size, folder)
    except BaseException as error:
        failed = time.monotonic_ns()
        error.add_note(traceback.format_exc())
        with suppress(OSError):
            (folder / f"error-{rank}").write_bytes(pickle.dumps((failed, _portable(error))))
        _end(errno.ENOSPC if is_full(error) else 1)


def _leave_together(rank: int, size: int, folder: Path) -> None:
    """End when all have done their work: one that goes earlier would cut a message to another."""
    (folder / f"done-{rank}").touch()
    while len(list(folder.glob("done-*"))) < size:
        time.sleep(0.01)
    _end(0)


def _end(status: int) -> None:
    """At once: torn down in good order, gloo's threads now and then abort the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _meet(rank: int, team: Team) -> None:
    """Join the others; from here on `runtime.start` gives this process's device."""
    lo = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.update({"GLOO_SOCKET_IFNAME": lo, "NCCL_SOCKET_IFNAME": lo})
    cuda = runtime.pick_device(team.device) == "cuda"
    if cuda:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=cast(Any, distributed).FileStore(str(Path(str(team.place)) / "meeting"), team.size),
        rank=rank,
        world_size=team.size,
        device_id=torch.device("cuda", rank) if cuda else None,
    )


def _portable(error: BaseException) -> BaseException:
    """The error, or one that says the same where it does not go through a file."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        kind = UserError if isinstance(error, UserError) else RuntimeError
        return kind(str(error) if kind is UserError else f"{type(error).__name__}: {error}")
    return error
