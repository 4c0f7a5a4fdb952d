"""Live progress in notebooks; nothing is shown elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any, Final, Protocol

EVERY: Final = 0.5  # seconds between two updates
Show = Callable[[str], Callable[[str], Any]]  # displays HTML and returns what replaces it


class Progress(Protocol):
    """Follows tasks that are done one after the other."""

    def begin(self, title: str, total: float | None = None) -> None:
        """A task begins. total: its amount of work, None if it is not reported."""

    def report(self, message: str, done: float) -> None:
        """How much of the task's work is done."""

    def end(self) -> None:
        """The task has ended."""

    def close(self, line: str) -> None:
        """All is done; the line stays."""


class Silent:
    """Shows nothing."""

    def begin(self, title: str, total: float | None = None) -> None:
        """Nothing."""

    def report(self, message: str, done: float) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def close(self, line: str) -> None:
        """Nothing."""


class Bar:
    """An HTML progress bar: the fraction of the tasks that are done, the current one, and the time so far.

    tasks: their number. show: see `Show`. An update costs a message to the browser, so there is one every EVERY seconds
    at most, and one for each new task.
    """

    def __init__(self, label: str, tasks: int, show: Show, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._tasks, self._clock = label, tasks, clock
        self._start = self._shown = clock()
        self._title, self._message, self._total = "", "", 0.0
        self._ended, self._part = 0, 0.0
        self._update = show(self._html())

    def begin(self, title: str, total: float | None = None) -> None:
        """A task begins; more tasks than expected extend the bar."""
        self._title, self._message, self._total, self._part = title, "", total or 0.0, 0.0
        self._tasks = max(self._tasks, self._ended + 1)
        self._draw(force=True)

    def report(self, message: str, done: float) -> None:
        """How much of the task's work is done."""
        self._message = message
        self._part = min(1.0, done / self._total) if self._total else 0.0
        self._draw()

    def end(self) -> None:
        """The task has ended."""
        self._ended, self._part = self._ended + 1, 0.0
        self._draw()

    def close(self, line: str) -> None:
        """Replace the bar by a line with the time."""
        self._update(f"<p>{escape(self._label)}: {escape(line)}, {self._clock() - self._start:.0f} s</p>")

    def _draw(self, *, force: bool = False) -> None:
        now = self._clock()
        if force or now - self._shown >= EVERY:
            self._shown = now
            self._update(self._html())

    def _html(self) -> str:
        done = (self._ended + self._part) / self._tasks
        of_task = f" {self._part:.0%}" if self._part else ""
        more = f" ({self._message})" if self._message else ""
        count = f"{self._ended}/{self._tasks}, " if self._tasks > 1 else ""
        line = f"{self._label}: {count}{self._clock() - self._start:.0f} s; {self._title}{of_task}{more}"
        return f'<p><progress value="{done:.4f}" max="1"></progress> {escape(line)}</p>'


def progress(label: str, tasks: int = 1) -> Progress:
    """A bar in a notebook, and nothing elsewhere."""
    show = notebook_display()
    return Silent() if show is None else Bar(label, tasks, show)


def notebook_display() -> Show | None:
    """How to show HTML in the notebook whose kernel this process is; None for any other process."""
    # IPython is imported already in a notebook, and is no dependency.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    def show(html: str) -> Callable[[str], Any]:
        handle = display(HTML(html), display_id=True)
        return lambda changed: handle.update(HTML(changed))

    return show
