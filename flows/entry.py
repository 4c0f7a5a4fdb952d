"""The command's first steps: Ctrl-C or Ctrl-\\ while its libraries are imported, which takes seconds,
ends it with one line too.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import Final

from .memory import watch_limit
from .signals import interrupted, terminated

DEFAULT: Final = (signal.default_int_handler, signal.SIG_DFL)
CONTINUE: Final = "Run the same command again to continue (train: with --resume)"
STOPPED: Final = f"stopped; no file is half-written. {CONTINUE}"


def main() -> None:
    """Entry point of `augpipe`."""
    gc.disable()  # for the time of the imports: they leave no garbage, and looking for it takes a tenth of their time
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) in DEFAULT:  # not in the background
            signal.signal(number, _end)
    try:
        os.getcwd()  # noqa: PTH109 (without an import)
    except OSError:  # libraries end the process where there is none
        os.write(2, b"augpipe: the working directory no longer exists; change to another (cd)\n")
        raise SystemExit(2) from None
    open_standard_streams()
    use_utf8()
    if sys.flags.optimize > 1:
        os.write(2, b"augpipe: PYTHONOPTIMIZE=2 (python -OO) removes texts that MLflow reads; unset it\n")
        raise SystemExit(2)
    watch_limit()
    from .cli import main as command

    command()


def open_standard_streams() -> None:
    """Open the null device in place of closed standard streams.

    A file or a database that is opened later would have their number, and what a library prints would be written to it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            os.set_inheritable(number, True)


def use_utf8() -> None:
    """Start the command again in Python's UTF-8 mode if the locale's encoding is another, such as ASCII.

    Names of files and classes would be read and written in that one. The terminal has its encoding as before.
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding().lower() == "utf-8":
        return
    variables = {**os.environ, "PYTHONUTF8": "1"}
    if sys.stdout is not None:
        variables.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], variables)  # noqa: S606 (no shell)


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: an exception would be raised in the middle of some library, and nothing is open yet."""
    os.write(2, f"augpipe: {STOPPED}\n".encode())
    os._exit(128 + number)


def handle_interrupts() -> None:
    """All is imported. From now on Ctrl-C and Ctrl-\\ raise exceptions, so that servers and workers are stopped."""
    end_of_imports()
    for number, handler in ((signal.SIGINT, interrupted), (signal.SIGQUIT, terminated)):
        if signal.getsignal(number) in (_end, *DEFAULT):
            signal.signal(number, handler)


def end_of_imports() -> None:
    """Collect garbage again, if `main` stopped it, but not among what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
