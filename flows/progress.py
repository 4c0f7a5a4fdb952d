"""Progress of tasks in other processes: each writes a small file, the run shows them as bars."""

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

EVERY = 0.5  # seconds between two writes of a task, and between two looks


class Reporter:
    """Tells how far one task is, at most every EVERY seconds; the file goes when the block ends."""

    def __init__(self, folder: Path, name: str, total: float) -> None:
        self._path = folder / f"{name.replace(os.sep, '_')}.json"
        self._name, self._total, self._last = name, total, 0.0

    def __enter__(self) -> Reporter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self("", 0.0)
        return self

    def __call__(self, told: str, done: float) -> None:
        """done of total, and a few words."""
        now = time.monotonic()
        if now - self._last < EVERY and done < self._total:
            return
        self._last = now
        draft = self._path.with_suffix(f".{os.getpid()}")
        values = {"name": self._name, "done": done, "total": self._total, "told": told}
        draft.write_text(json.dumps(values))
        os.replace(draft, self._path)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


class Board:
    """The run's bars: one over all tasks, one for each task that reports."""

    def __init__(self, folder: Path | None, total: int, console: Console) -> None:
        self._folder, self._console = folder, console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[told]}", style="dim"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._bars.add_task("all tasks", total=total, told="")
        self._shown: dict[str, TaskID] = {}
        self._done = 0
        self._total = total

    def advance(self, told: str) -> None:
        """One more task is finished; without a terminal this is a line."""
        self._done += 1
        self._bars.update(self._all, completed=self._done, told=told)
        if not self._console.is_terminal and told:
            self._console.print(
                f"[{self._done}/{self._total}] {told}", markup=False, highlight=False
            )

    def say(self, told: str) -> None:
        """A line above the bars."""
        self._bars.console.print(told, markup=False, highlight=False, soft_wrap=True)

    def look(self) -> None:
        """Read the tasks' files once."""
        found = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder else ():
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # it ended between listing and reading
            found[values["name"]] = values
        for name, values in found.items():
            if name not in self._shown:
                self._shown[name] = self._bars.add_task(name, total=values["total"], told="")
            self._bars.update(self._shown[name], completed=values["done"], told=values["told"])
        for name in set(self._shown) - set(found):
            self._bars.remove_task(self._shown.pop(name))

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the bars while the block runs."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(EVERY):
                self.look()

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
    """A bar on standard error for work in this process; nothing where that is no terminal."""
    console = Console(stderr=True)
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with shown:
        task = shown.add_task(what, total=1)
        yield lambda done, total: shown.update(task, completed=done, total=total)
