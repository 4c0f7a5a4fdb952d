"""Print to the standard streams; if standard output cannot be written to, the command ends with a message."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console


class OutputError(Exception):
    """Standard output cannot be written: a one-line message (exit status 2)."""


@contextmanager
def writing() -> Iterator[None]:
    """OutputError if the block cannot write to standard output; if nobody reads it, exit with the status of SIGPIPE."""
    try:
        yield
    except BrokenPipeError:
        flush_or_discard()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        flush_or_discard()
        raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error


def print_json(value: Any) -> None:
    """Print JSON on standard output, if it is open; null for a number that is none of JSON's."""
    print_text(json.dumps(_finite(value), indent=2, ensure_ascii=is_narrow(), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_summary_json(folder: Path) -> None:
    """Print the summary.json of a run's folder, with the folder as `out`."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    print_json({**summary, "out": str(folder)})


def print_text(text: str) -> None:
    """Print text as it is on standard output, if it is open."""
    if sys.stdout is None:
        return
    with writing():
        sys.stdout.write(text)
        sys.stdout.flush()


def is_narrow() -> bool:
    """Whether standard output lacks characters; JSON is ASCII then, as an escape of another kind is no JSON."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    return encoding.lower().replace("-", "") != "utf8"


def flush_or_discard() -> None:
    """Discard what a standard stream cannot take:
    it would fail again at the process's end, and change the exit status to 120.
    """
    for outer in (sys.stdout, sys.stderr):
        stream = outer._stream if isinstance(outer, Lossy) else outer
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):  # closed, or not a file
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Lossy:
    """A stream for notes and progress that loses what it cannot write, as on a full disk: the work goes on without
    them.

    That nobody reads it is an error as before.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or from now on discard."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError:
            flush_or_discard()
            return len(text)

    def flush(self) -> None:
        """Flush, or from now on discard."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            flush_or_discard()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Output(Console):
    """A console on standard output."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich prints; see `writing` for errors."""
        with writing():
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """Rich would exit with status 1, which is that of a fault of ours."""
        raise BrokenPipeError


def print_line(line: str) -> None:
    """Print a line on standard output as it is: without markup, colours or line breaks."""
    Output().print(line, markup=False, highlight=False, soft_wrap=True)


def report(line: str) -> None:
    """Print a line on standard error as it is: without markup, colours or line breaks."""
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def print_error(line: str) -> None:
    """Print a command's last line on standard error;
    not by rich, which imports for it what there may be no memory for.
    """
    # Standard error may be closed or full: the status remains.
    with suppress(OSError, MemoryError):
        if sys.stderr is not None:
            print(f"augpipe: {line}", file=sys.stderr)
