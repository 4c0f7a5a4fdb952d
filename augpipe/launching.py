"""Several processes on one machine that are one training: begun, watched, ended, and what comes of them (see `parallel`).

They meet over a file and speak over loopback (gloo on CPUs, NCCL on GPUs); no port is open for a stranger. None outlives
the process that began them, however that one ends.
"""

from __future__ import annotations

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

from augpipe import runtime
from augpipe.errors import RunError
from augpipe.runtime import Device, Precision

T = TypeVar("T")
GRACE: Final = 1.0  # seconds in which the others may tell what they failed of, once one has


class _Team(NamedTuple):
    """What each of the processes is told."""

    folder: str  # where they meet, and leave what came of them
    size: int
    device: Device
    precision: Precision


def launch(
    devices: int, device: Device, precision: Precision, work: Callable[..., T], *arguments: Any
) -> T:
    """What `work(*arguments)` gives in the first of `devices` processes, which train together.

    Each has a device of its own (on a machine without GPUs it has none but itself), which `runtime.start` gives it. work
    and arguments are found by name and pickled. What any of them raises first is raised here, and the others are ended.
    """
    runtime.require(devices, device)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="augpipe-training-") as folder:
        team = _Team(folder, devices, device, precision)
        processes = [
            context.Process(target=_begin, args=(rank, team, work, arguments))
            for rank in range(devices)
        ]
        try:
            for process in processes:
                process.start()
            status = _join(processes)
        finally:  # a time-out, Ctrl-C or a failure of one: none goes on alone
            for process in processes:
                if process.pid is not None:
                    process.kill()
                    process.join()
        if status:
            raise _failure(Path(folder), status)
        return cast(T, _read(Path(folder) / "result"))


def _join(processes: Sequence[BaseProcess]) -> int:
    """0 when all have ended well, else the first other status."""
    waiting = {process.sentinel: process for process in processes}
    while waiting:
        for sentinel in wait(list(waiting)):
            process = waiting.pop(cast(int, sentinel))
            process.join()
            if process.exitcode:
                wait(list(waiting), GRACE)
                return process.exitcode
    return 0


def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301 - of our own processes, in a folder closed to others


def _failure(folder: Path, status: int) -> BaseException:
    """What failed first: the others failed of its being gone."""
    told = []
    for path in folder.glob("error-*"):
        with suppress(Exception):  # half-written by one that was ended
            told.append(cast(tuple[int, BaseException], _read(path)))
    if told:
        return min(told, key=lambda one: one[0])[1]
    how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return RunError(f"a process of the training was ended {how}; was there too little memory?")


def _begin(rank: int, team: _Team, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches every process of the terminal; whoever began these answers it, and ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(team.folder)
    try:
        _meet(rank, team)
        result = work(*arguments)
        if rank == 0:
            (folder / "result").write_bytes(pickle.dumps(result))
        _leave_together(rank, team)
    except BaseException as error:
        failed = time.monotonic_ns()
        error.add_note(traceback.format_exc())
        (folder / f"error-{rank}").write_bytes(pickle.dumps((failed, _portable(error))))
        _end(1)


def _leave_together(rank: int, team: _Team) -> None:
    """End when all have done their work: one that goes earlier would cut a message to another."""
    (Path(team.folder) / f"done-{rank}").touch()
    while len(list(Path(team.folder).glob("done-*"))) < team.size:
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


def _meet(rank: int, team: _Team) -> None:
    """Join the others; from here on `runtime.start` gives this process's device."""
    lo = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.update(
        {
            "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
            "GLOO_SOCKET_IFNAME": lo, "NCCL_SOCKET_IFNAME": lo,
        }
    )  # fmt: skip
    cuda = runtime.pick_device(team.device) == "cuda"
    if cuda:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=cast(Any, distributed).FileStore(str(Path(team.folder) / "meeting"), team.size),
        rank=rank,
        world_size=team.size,
        device_id=torch.device("cuda", rank) if cuda else None,
    )
    runtime.join(team.size, team.device, team.precision)


def _portable(error: BaseException) -> BaseException:
    """The error, or one that says the same where it does not go through a file."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
