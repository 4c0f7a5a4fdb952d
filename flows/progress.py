"""Progress of tasks in other processes: each writes a small file, which the run shows as a bar."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY = 0.5  # seconds between two writes of a task, and between two reads of the files


class Reporter:
    """Writes the progress of one task to a file, at most every EVERY seconds; removes the file at the end."""

    def __init__(self, folder: Path, name: str, total: float) -> None:
        self._path = folder / f"{name.replace(os.sep, '_')}.json"
        self._name, self._total, self._last = name, total, 0.0

    def __enter__(self) -> Reporter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self("", 0.0)
        return self

    def __call__(self, message: str, done: float) -> None:
        """Report a short message and the work done, in units of `total`."""
        now = time.monotonic()
        if now - self._last < EVERY and done < self._total:
            return
        self._last = now
        draft = self._path.with_suffix(f".{os.getpid()}")
        values = {"name": self._name, "done": done, "total": self._total, "told": message}
        draft.write_text(json.dumps(values))
        os.replace(draft, self._path)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


class Board:
    """Progress bars of a run: one for all tasks, and one for each task that reports."""

    def __init__(self, folder: Path | None, total: int, console: Console) -> None:
        self._folder, self._console = folder, console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", style="dim"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._bars.add_task("all tasks", total=total, message="")
        self._shown: dict[str, TaskID] = {}
        self._done = 0
        self._total = total

    def advance(self, message: str) -> None:
        """Count a finished task; without a terminal, print the message as a line unless it is empty."""
        self._done += 1
        self._bars.update(self._all, completed=self._done, message=message)
        if not self._console.is_terminal and message:
            self._console.print(
                f"[{self._done}/{self._total}] {message}", markup=False, highlight=False
            )

    def log(self, message: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def update(self) -> None:
        """Read the tasks' files and update their bars."""
        reports = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder else ():
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # the task ended between listing and reading
            reports[values["name"]] = values
        for name, values in reports.items():
            if name not in self._shown:
                self._shown[name] = self._bars.add_task(name, total=values["total"], message="")
            self._bars.update(self._shown[name], completed=values["done"], message=values["told"])
        for name in set(self._shown) - set(reports):
            self._bars.remove_task(self._shown.pop(name))

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bars while the block runs."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(EVERY):
                self.update()

        watcher = threading.Thread(target=watch, name="progress", daemon=True)
        with self._bars:
            watcher.start()
            try:
                yield
            finally:
                ended.set()
                watcher.join()


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error for work in this process; hidden if it is not a terminal."""
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
    with progress:
        task = progress.add_task(what, total=1)
        yield lambda done, total: progress.update(task, completed=done, total=total)
