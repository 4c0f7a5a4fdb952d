"""Progress: tasks in other processes report through small files;
long work shows itself, also where there is no terminal.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

EVERY: Final = 0.5  # seconds between two writes of a task, and between two reads of the files
SILENCE = 60.0  # seconds after which a line appears where there is no terminal, so that a log never looks dead


class Reporter:
    """Writes the progress of one task to a file, at most every EVERY seconds; removes the file at the end.

    stage: name of its function. total: final value of its progress; None if it reports none.
    """

    def __init__(self, folder: Path, stage: str, name: str, total: float | None) -> None:
        self._path = folder / f"{name.replace(os.sep, '_')}.json"
        self._values = {"stage": stage, "name": name, "total": total}
        self._total, self._last = total, 0.0

    def __enter__(self) -> Reporter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self("", 0.0)
        return self

    def __call__(self, message: str, done: float) -> None:
        """Report a short message and the work done, in units of `total`."""
        now = time.monotonic()
        if now - self._last < EVERY and (self._total is None or done < self._total):
            return
        self._last = now
        draft = self._path.with_suffix(f".{os.getpid()}")
        with suppress(FileNotFoundError):  # all of TMPDIR was deleted: nothing shows the progress, and the task goes on
            draft.write_text(json.dumps({**self._values, "done": done, "message": message}))
            os.replace(draft, self._path)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def repeated(function: Callable[[], None], interval: float) -> Iterator[None]:
    """Call a function in a thread, every `interval` seconds while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(interval):
            function()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextmanager
def working(what: str, state: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Show on standard error that something takes its time: a spinner, or a line whenever SILENCE seconds have passed.

    state: how far it is.
    """
    console, start = Console(stderr=True), time.monotonic()
    if console.is_terminal:
        with console.status(what):
            yield
        return

    def line() -> None:
        spent = duration(time.monotonic() - start)
        console.print(f"{what}: {state()}{spent}", markup=False, highlight=False, soft_wrap=True)

    with repeated(line, SILENCE):
        yield


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error for work in this process; lines if it is not a terminal."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    position = [0, 1]

    def advance(done: int, total: int) -> None:
        position[:] = done, total
        progress.update(task, completed=done, total=total)

    lines = working(what, lambda: f"{position[0]:,}/{position[1]:,}, ")
    with progress, nullcontext() if console.is_terminal else lines:
        task = progress.add_task(what, total=1)
        yield advance
