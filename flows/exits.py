"""Exit status and one-line message for errors that need no traceback."""

from __future__ import annotations

import errno
import shutil
import signal
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError

from augpipe.core.errors import RunError, UserError, is_full, one_line
from augpipe.core.home import home

from .engine import bare_text
from .entry import CONTINUE, STOPPED
from .output import OutputError
from .signals import received

# Messages of the system's loader and of torch.
NO_MEMORY: Final = (
    "failed to map segment from shared object",
    "cannot allocate memory",
    "Cannot allocate memory",
    "can't allocate memory",
    "can't start new thread",
    "out of memory",
    "bad_alloc",
)
MIN_FREE: Final = 2**20  # bytes: with less free space the next write fails


def exit_message(error: BaseException) -> tuple[int, str] | None:
    """Exit status and message; None for another SystemExit and for internal errors, which keep their traceback."""
    line = bare_text(one_line(error))
    if isinstance(error, CycloptsError):
        return 2, _usage(error, line)
    number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else received()
    if number is not None:
        return 128 + number, STOPPED
    if isinstance(error, SystemExit):
        return None
    if isinstance(error, RunError):
        return 1, f"{line}. {CONTINUE}"
    if isinstance(error, OutputError):
        return 2, line
    if is_full(error) or _disk_full():
        cause = line
        place = getattr(error, "filename", None) or (home() if _disk_full() else None)
        if place is not None and not isinstance(error, UserError):
            cause = f"the disk of {place} is full"
        advice = "free some (augpipe cache prune --older-than 7d removes results not used since)"
        return 2, f"no space is left: {cause}; {advice}. {CONTINUE}"
    if isinstance(error, UserError):
        return 2, line
    if isinstance(error, BrokenProcessPool):
        why = "a worker process was killed, often for lack of memory; --set runner.workers=1 uses the least"
        return 1, f"{why}. {CONTINUE}"
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE, "nobody reads the output any more"
    if _no_memory(error):
        return 1, f"not enough memory ({line[:160] or type(error).__name__}). {CONTINUE}"
    return None


def _usage(error: CycloptsError, line: str) -> str:
    """Message for arguments that do not fit the command."""
    command = " ".join(("augpipe", *(error.command_chain or ())))
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        value = f"{name} VALUE" if name.startswith("-") else name
        return f"{command} needs {value}; see {command} --help"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        hint = "; --set A=1 B=2 sets values" if "=" in error.unused_tokens[0] else ""
        return f"unexpected argument {error.unused_tokens[0]!r} of {command}{hint}"
    return line


def _no_memory(error: BaseException) -> bool:
    """Whether the process may not have more memory; a library that cannot be loaded for it raises ImportError."""
    short = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return short or isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _disk_full() -> bool:
    """Whether the disk is full now; not every library reports that as the cause of its error."""
    try:
        return shutil.disk_usage(home()).free < MIN_FREE
    except OSError:
        return False
