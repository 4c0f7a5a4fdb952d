"""Exit status and one-line message for errors that need no traceback."""

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
from .entry import CONTINUE, STOPPED

MIN_FREE: Final = 2**20  # bytes: with less free space the next write fails


class Terminated(SystemExit):
    """SIGTERM or SIGHUP was received; the stack unwinds as for Ctrl-C, so that servers and workers stop with the run."""


def terminated(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise Terminated."""
    raise Terminated(128 + number)


def exit_message(error: BaseException) -> tuple[int, str] | None:
    """Exit status and message; None for another SystemExit and for internal errors, which keep their traceback."""
    line = bare_text(" ".join(str(error).split()))
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, STOPPED
    if isinstance(error, Terminated):
        return int(str(error.code)), STOPPED
    if isinstance(error, SystemExit):
        return None
    if isinstance(error, RunError):
        return 1, f"{line}. {CONTINUE}"
    if is_full(error) or _disk_full():
        cause = line
        if not isinstance(error, UserError):
            cause = f"the disk of {getattr(error, 'filename', None) or home()} is full"
        advice = "free some (augpipe cache prune --older-than 7d removes results not used since)"
        return 2, f"no space is left: {cause}; {advice}. {CONTINUE}"
    if isinstance(error, UserError | CycloptsError):
        return 2, line
    if isinstance(error, BrokenProcessPool):
        why = "a worker process was killed, often for lack of memory; --set runner.workers=1 uses the least"
        return 1, f"{why}. {CONTINUE}"
    return None


def _disk_full() -> bool:
    """Whether the disk is full now; not every library reports that as the cause of its error."""
    try:
        return shutil.disk_usage(home()).free < MIN_FREE
    except OSError:
        return False
