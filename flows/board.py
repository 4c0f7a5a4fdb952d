"""The board of a run: stages, running tasks, and the time that is left; lines where there is no terminal."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from . import progress
from .progress import EVERY, duration, repeated
from .time_left import SCORES, Current, Key, Remaining, key_of

SHOWN: Final = 4  # running tasks in a line
CERTAIN: Final = 0.02  # fraction of a task from which its own speed is used
SAMPLES_EVERY: Final = 5.0  # seconds between two looks for a newer grid of samples


@dataclass
class _Running:
    """A running task. began: time and work done when it first reported work, a resumed training's is not 0."""

    values: dict[str, Any]
    since: float
    began: tuple[float, float] | None = None

    def report(self, values: dict[str, Any], now: float) -> None:
        """Take the values of its last report."""
        self.values = values
        if self.began is None and values["done"] > 0:
            self.began = now, values["done"]

    def current(self, now: float) -> Current:
        """How long it has run, and will, as far as its own speed says so."""
        key, spent = key_of(self.values), now - self.since
        done, total = self.values["done"], self.values["total"]
        if self.began is None or not total or done - self.began[1] < CERTAIN * total:
            return Current(key, spent)
        start, first = self.began
        each = (now - start) / (done - first)
        return Current(key, spent, (start - self.since) + each * total, each * (total - done))


class Board:
    """Progress of a run's tasks.

    tasks: stage and name of every task. known: of those whose result is reused. samples: folder of sample grids.
    """

    def __init__(
        self,
        folder: Path | None,
        tasks: Sequence[Key],
        console: Console,
        *,
        known: Sequence[Key] = (),
        samples: Path | None = None,
    ) -> None:
        self._folder, self._console, self._samples = folder, console, samples
        self._began, self._printed = time.time(), time.monotonic()
        self._start = self._printed
        self._total = Counter(stage for stage, _ in [*tasks, *known])
        self._done = Counter(stage for stage, _ in known)
        self._remaining = Remaining(tasks)
        self._running: dict[str, _Running] = {}
        self._newest, self._looked = "", 0.0
        self._lock = threading.Lock()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[shown]}"),
            TextColumn("{task.fields[message]}", style="dim"),
            console=console,
        )
        self._stages = {
            stage: self._bars.add_task(stage, total=n, completed=self._done[stage], shown="", message="")
            for stage, n in self._total.items()
        }
        self._shown: dict[str, TaskID] = {}

    def advance(self, key: Key, message: str) -> None:
        """Count a finished task; without a terminal, print the message as a line unless it is empty."""
        with self._lock:
            self._done[key[0]] += 1
            self._remaining.finish(key)
        if not self._console.is_terminal and message:
            self.log(f"{self._count()} {message}")

    def log(self, message: str) -> None:
        """Print a line above the bars."""
        self._printed = time.monotonic()
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _count(self) -> str:
        return f"[{self._done.total()}/{self._total.total()}]"

    def update(self) -> None:
        """Read the tasks' files; without a terminal, print a line after a silence."""
        reports = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder else ():
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # the task ended between listing and reading
            reports[values["name"]] = values
        now = time.monotonic()
        with self._lock:
            for name in set(self._running) - set(reports):
                ended = self._running.pop(name)
                self._remaining.measured(key_of(ended.values), now - ended.since)
            for name, values in reports.items():
                self._running.setdefault(name, _Running(values, now)).report(values, now)
        if self._console.is_terminal:
            self._draw()
        elif now - self._printed >= progress.SILENCE:
            self.log(f"{self._count()} {duration(now - self._start)}: {self.state()}")

    def state(self) -> str:
        """Arms and replicates done, what is running, the time left and the newest samples, in one line."""
        names = [self._of_task(running.values) for running in self._running.values()]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        running = "; ".join(names[:SHOWN]) + more
        return f"{', '.join(self._summary())}. Running: {running or 'no task yet'}"

    def _summary(self) -> Iterator[str]:
        if n := self._total[SCORES]:
            yield f"{self._done[SCORES]} of {n} arms x replicates scored"
        yield self._time_left()
        if newest := self._newest_samples():
            yield f"newest samples: {newest}"

    def _time_left(self) -> str:
        now = time.monotonic()
        with self._lock:
            left = self._remaining.seconds([one.current(now) for one in self._running.values()])
        if left is None:
            return "time left not known yet"
        return f"{'about' if left.complete else 'at least'} {duration(left.seconds)} left"

    def _of_task(self, values: dict[str, Any]) -> str:
        done = f" {values['done'] / values['total']:.0%}" if values["total"] else ""
        return f"{values['name']}{done}" + (f" ({values['message']})" if values["message"] else "")

    def _newest_samples(self) -> str:
        """Path of the newest grid of samples since the run began, or ""."""
        now = time.monotonic()
        if self._samples is None or now - self._looked < SAMPLES_EVERY:
            return self._newest
        self._looked, times = now, []
        for path in self._samples.glob("*.png"):
            try:
                times.append((path.stat().st_mtime, str(path)))
            except OSError:  # removed meanwhile
                continue
        if times and max(times)[0] >= self._began:
            self._newest = max(times)[1]
        return self._newest

    def _draw(self) -> None:
        """Bring the bars up to date."""
        for stage, task in self._stages.items():
            done, total = self._done[stage], self._total[stage]
            self._bars.update(task, completed=done, shown=f"{done}/{total}")
        for name, running in self._running.items():
            values = running.values
            if name not in self._shown:
                self._shown[name] = self._bars.add_task(f"  {name}", total=values["total"], shown="", message="")
            shown = f"{values['done'] / values['total']:.0%}" if values["total"] else ""
            self._bars.update(self._shown[name], completed=values["done"], shown=shown, message=values["message"])
        for name in set(self._shown) - set(self._running):
            self._bars.remove_task(self._shown.pop(name))

    def _render(self) -> RenderableType:
        spent = duration(time.monotonic() - self._start)
        lines = "\n".join((*self._summary(), f"{spent} so far"))
        return Group(self._bars, Text(lines, style="dim"))

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the board while the block runs."""
        terminal = self._console.is_terminal
        live = Live(get_renderable=self._render, console=self._console, transient=True)
        with live if terminal else nullcontext(), repeated(self.update, EVERY):
            yield
