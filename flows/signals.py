"""Signals that stop the command: the stack unwinds, so that servers and workers stop with the run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

GRACE: Final = 5.0  # seconds for the command to end, during which a second signal is ignored
ENDING: Final = 60.0  # seconds during which an error counts as the signal's
# Of the process: a signal handler is called with the signal alone.
_received: list[tuple[int, float]] = []  # number and time of each
_called: list[Callable[[], None]] = []  # when the command is stopped


class Terminated(SystemExit):
    """SIGTERM, SIGHUP or SIGQUIT was received."""


def interrupted(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise KeyboardInterrupt."""
    if _is_first(number):
        raise KeyboardInterrupt


def terminated(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise Terminated."""
    if _is_first(number):
        raise Terminated(128 + number)


def _is_first(number: int) -> bool:
    now = time.monotonic()
    if _received and now - _received[-1][1] < GRACE:
        return False
    _received.append((number, now))
    for call in _called:
        threading.Thread(target=call, daemon=True).start()
    return True


@contextmanager
def when_stopped(call: Callable[[], None]) -> Iterator[None]:
    """While the block runs, a signal that stops the command also calls this,
    in a thread that the end does not wait for.
    """
    _called.append(call)
    try:
        yield
    finally:
        _called.remove(call)


def received() -> int | None:
    """The signal that has just stopped the command, or None.

    Libraries may wrap the handler's exception in one of their own, such as pydantic while it serialises a task.
    """
    if not _received or time.monotonic() - _received[-1][1] > ENDING:
        return None
    return _received[-1][0]


def handle_termination() -> None:
    """From now on SIGTERM raises Terminated; so does SIGHUP, a lost terminal, unless `nohup` has it ignored."""
    signal.signal(signal.SIGTERM, terminated)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, terminated)


@contextmanager
def ignored(*numbers: signal.Signals) -> Iterator[None]:
    """Processes that are started in the block ignore these signals; only where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signals
        return
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}  # inherited
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
