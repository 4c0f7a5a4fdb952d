"""The command's first steps: Ctrl-C while its libraries are imported, which takes seconds, ends it with one line too."""

from __future__ import annotations

import gc
import os
import signal
from types import FrameType
from typing import Final

from .memory import watch_limit
from .signals import interrupted

CONTINUE: Final = "Run the same command again to continue (train: with --resume)"
STOPPED: Final = f"stopped; no file is half-written. {CONTINUE}"


def main() -> None:
    """Entry point of `augpipe`."""
    gc.disable()  # for the time of the imports: they leave no garbage, and looking for it takes a tenth of their time
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # not in the background
        signal.signal(signal.SIGINT, _end)
    try:
        os.getcwd()  # noqa: PTH109 (without an import)
    except OSError:  # libraries end the process where there is none
        os.write(2, b"augpipe: the working directory no longer exists; change to another (cd)\n")
        raise SystemExit(2) from None
    watch_limit()
    from .cli import main as command

    command()


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: an exception would be raised in the middle of some library, and nothing is open yet."""
    os.write(2, f"augpipe: {STOPPED}\n".encode())
    os._exit(128 + number)


def handle_interrupts() -> None:
    """All is imported. From now on Ctrl-C raises KeyboardInterrupt, so that servers and workers are stopped."""
    end_of_imports()
    if signal.getsignal(signal.SIGINT) in (_end, signal.default_int_handler):
        signal.signal(signal.SIGINT, interrupted)


def end_of_imports() -> None:
    """Collect garbage again, if `main` stopped it, but not among what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
