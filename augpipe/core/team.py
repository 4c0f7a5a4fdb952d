"""Launch and supervise the processes of a distributed training on one machine (see `distributed`).

They rendezvous through a file and communicate over loopback (gloo on CPUs, NCCL on GPUs); no port is open to other
machines. They end with the process that started them, however it ends.
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
from augpipe.core.processes import ignore_terminal

T = TypeVar("T")
GRACE: Final = 1.0  # seconds to wait for the errors of the other processes after one failed


class Team(NamedTuple):
    """size: number of processes, each with its own device.
    place: parent of the rendezvous folder; default: the system's temporary folder.
    """

    size: int
    device: Device = "auto"
    place: str | None = None


def launch(team: Team, work: Callable[..., T], *arguments: Any) -> T:
    """Run `work(*arguments)` in every process of the team and return the result of rank 0.

    `runtime.start` gives each process its own GPU; without GPUs all use the CPU. work is pickled by name, arguments by
    value. The first exception of any process is raised here, and the other processes are killed. Raises RunError if one
    is killed.
    """
    runtime.require(team.size, team.device)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="augpipe-training-", dir=team.place) as folder:
        team = team._replace(place=folder)
        processes = [context.Process(target=_run, args=(rank, team, work, arguments)) for rank in range(team.size)]
        try:
            for process in processes:
                process.start()
            first, status = _join(processes)
        finally:  # after a timeout, Ctrl-C or a failure no process may continue alone
            for process in processes:
                if process.pid is not None:
                    process.kill()
                    process.join()
        if status:
            raise _failure(Path(folder), first, status)
        return cast(T, _read(Path(folder) / "result"))


def _join(processes: Sequence[BaseProcess]) -> tuple[int, int]:
    """(0, 0) if all succeed, else the rank and exit status of the first that failed."""
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
    return pickle.loads(path.read_bytes())  # noqa: S301 - written by our own processes in a private folder


def _failure(folder: Path, first: int, status: int) -> BaseException:
    """Error of the process that failed first; the others failed because it was gone."""
    if status < 0:
        how = signal.Signals(-status).name
        return RunError(f"process {first} of a training was ended by {how}; possibly out of memory")
    errors = []
    for path in folder.glob("error-*"):
        with suppress(Exception):  # incomplete file of a killed process
            errors.append(cast(tuple[int, BaseException], _read(path)))
    if errors:
        return min(errors, key=lambda error: error[0])[1]
    if status == errno.ENOSPC:
        return UserError(f"{FULL_WORDS[0]}: {folder.parent}")
    return RunError(f"process {first} of a training ended with status {status}")


def _run(rank: int, team: Team, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    ignore_terminal()
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
    """Exit once all are done: exiting earlier could cut off a message to another process."""
    (folder / f"done-{rank}").touch()
    while len(list(folder.glob("done-*"))) < size:
        time.sleep(0.01)
    _end(0)


def _end(status: int) -> None:
    """Exit immediately: with a regular shutdown, threads of gloo occasionally abort the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _meet(rank: int, team: Team) -> None:
    """Join the process group; afterwards `runtime.start` returns the device of this process."""
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
    """The error, or one with the same message if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        kind = UserError if isinstance(error, UserError) else RuntimeError
        return kind(str(error) if kind is UserError else f"{type(error).__name__}: {error}")
    return error
