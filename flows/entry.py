"""The command's first steps: Ctrl-C while its libraries are imported, which takes seconds, ends it with one line too."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Final

CONTINUE: Final = "Run the same command again to continue (train: with --resume)"
STOPPED: Final = f"stopped; no file is half-written. {CONTINUE}"


def main() -> None:
    """Entry point of `augpipe`."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # not in the background
        signal.signal(signal.SIGINT, _end)
    from .cli import main as command

    command()


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: an exception would be raised in the middle of some library, and nothing is open yet."""
    os.write(2, f"augpipe: {STOPPED}\n".encode())
    os._exit(128 + number)


def handle_interrupts() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, so that servers and workers are stopped."""
    if signal.getsignal(signal.SIGINT) == _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
