"""Exceptions with one-line messages for users, and classification of errors."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

# Messages of a full disk without an errno: from the system, SQLite, and torch's file writer.
FULL_WORDS: Final = (
    "No space left on device",
    "Disk quota exceeded",
    "disk is full",
    "PytorchStreamWriter failed writing",
)
MANY: Final = 20  # choices that a message lists
PASSING: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


class UserError(ValueError):
    """Invalid user input: a one-line message with the value and the choices (exit status 2)."""


class NotTrainedError(UserError):
    """A training that failed with its settings; other trainings of the run continue."""


class RunError(RuntimeError):
    """A failure not caused by the user, reported by one line instead of a traceback (exit status 1)."""


class PictureError(ValueError):
    """An unusable picture; the message gives the reason for the user."""


def one_line(text: object) -> str:
    """A text, or an error's message, without line breaks and repeated spaces."""
    return " ".join(str(text).split())


def cause(error: BaseException) -> str:
    """An error's message on one line; the name of its type if it has none."""
    return one_line(error) or type(error).__name__


class WindowError(PictureError):
    """A picture that needs another `image.window`. what: its values; advice: which window, for who may set one."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what} {advice}".strip())
        self.what = what


def several(n: int, what: str) -> str:
    """`1 image`, `1,200 images`, `2 classes`."""
    return f"{n:,} {what}" + ("" if n == 1 else "es" if what.endswith("s") else "s")


def choices(have: Iterable[object]) -> str:
    """`a, b, c`, or `none` if there are no choices."""
    return ", ".join(str(item) for item in have) or "none"


def unknown(what: str, value: object, have: Iterable[object]) -> UserError:
    """UserError for an unknown name, with the closest match and the choices: all, or of many those that are close."""
    names = [str(item) for item in have]
    near = close_matches(str(value), names)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    offer = f"choose from {choices(names)}" if names else "there is none"
    if near and len(names) > MANY:
        offer = f"the closest of {len(names)}: {choices(near)}"
    return UserError(f"unknown {what} {str(value)!r}{hint}; {offer}")


def close_matches(value: str, names: Sequence[str], n: int = 3) -> list[str]:
    """Names that are nearly a value, the nearest first; without regard to case if none is with it."""
    lower = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(value, names, n)
    return near or [lower[name] for name in difflib.get_close_matches(value.casefold(), lower, n)]


def exists(path: Path) -> bool:
    """Whether a path exists; False also for a name that is too long for any."""
    try:
        return path.exists()
    except OSError:
        return False


def near_name(path: Path) -> str:
    """` (did you mean ...?)` for a path that does not exist,
    if its folder has something of nearly this name; else "".
    """
    try:
        names = sorted(entry.name for entry in os.scandir(path.parent))
    except OSError:
        return ""
    near = close_matches(path.name, names, 1)
    return f" (did you mean {str(path.with_name(near[0]))!r}?)" if near else ""


def is_full(error: BaseException | None) -> bool:
    """Whether an error or one of its causes is a full disk or quota."""
    while error is not None:
        message = str(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in message for words in FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def passes(error: BaseException) -> bool:
    """Whether an error may be transient, such as an unreachable address or network drive.

    Never a UserError or a full disk.
    """
    if isinstance(error, UserError):
        return False
    if isinstance(error, ConnectionError) or type(error) is TimeoutError:
        return True  # a subclass of TimeoutError is a limit on a task
    inner = getattr(error, "reason", None)  # of urllib's errors
    if isinstance(inner, BaseException):
        return passes(inner)
    return isinstance(error, OSError) and error.errno in PASSING
