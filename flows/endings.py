"""How the command ends: exit status and one line for what stopped it, where a traceback says no more."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Final

from cyclopts import CycloptsError

from augpipe.core.errors import RunError, UserError, is_full
from augpipe.core.home import home

from .engine import bare_text

GO_ON: Final = "The same command goes on from what was finished (train: with --resume)"
STOPPED: Final = f"stopped; nothing was left half-written. {GO_ON}"
LEAST: Final = 2**20  # bytes: with less on the disk the next write fails


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM; it unwinds like Ctrl-C, so that servers and workers end with the run."""


def terminated(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise Terminated."""
    raise Terminated(128 + number)


def ending(error: BaseException) -> tuple[int, str] | None:
    """Exit status and line; None where there is none: another exit, or a fault of ours."""
    line = bare_text(" ".join(str(error).split()))
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, STOPPED
    if isinstance(error, Terminated):
        return 128 + signal.SIGTERM, STOPPED
    if isinstance(error, SystemExit):
        return None
    if isinstance(error, RunError):
        return 1, f"{line}. {GO_ON}"
    if is_full(error) or _no_room():
        told = line
        if not isinstance(error, UserError):
            told = f"the disk of {getattr(error, 'filename', None) or home()} is full"
        room = "free some (augpipe cache prune --older-than 7d takes what no run used since)"
        return 2, f"no space is left: {told}; {room}. {GO_ON}"
    if isinstance(error, UserError | CycloptsError):
        return 2, line
    if isinstance(error, BrokenProcessPool):
        why = "a worker process was killed, often for lack of memory; --set runner.workers=1 needs the least"
        return 1, f"{why}. {GO_ON}"
    return None


def _no_room() -> bool:
    """Whether the disk is full now: not every program says that it failed of that."""
    try:
        return shutil.disk_usage(home()).free < LEAST
    except OSError:
        return False
