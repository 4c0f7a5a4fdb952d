"""The user's mistakes, told in one line; and what kind of failure an error is."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Final

# How a full disk is told where no errno comes along: by the system, by SQLite, by torch's file writer.
FULL_WORDS: Final = (
    "No space left on device",
    "Disk quota exceeded",
    "disk is full",
    "PytorchStreamWriter failed writing",
)
PASSING: Final = frozenset(
    {
        errno.EAGAIN, errno.EBUSY, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO, errno.ENETDOWN,
        errno.ENETUNREACH, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip


class UserError(ValueError):
    """A mistake in what the user gave: one line that names the value and the choices (exit status 2)."""


class NotTrainedError(UserError):
    """A training that came to nothing under its settings; beside others it leaves those standing."""


class RunError(RuntimeError):
    """A failure, not the user's, that one line tells better than a traceback (exit status 1)."""


class PictureError(ValueError):
    """A picture that cannot be used, and why, in words for the user."""


def several(n: int, what: str) -> str:
    """`1 image`, `1,200 images`, `2 classes`."""
    return f"{n:,} {what}" + ("" if n == 1 else "es" if what.endswith("s") else "s")


def choices(have: Iterable[object]) -> str:
    """`a, b, c`, or `none` where there is nothing to choose from."""
    return ", ".join(str(item) for item in have) or "none"


def unknown(what: str, value: object, have: Iterable[object]) -> UserError:
    """UserError for a name that does not exist, with what does, the nearest spelling first."""
    names = [str(item) for item in have]
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"unknown {what} {str(value)!r}{hint}; have {choices(names)}")


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is that a disk or a quota is full."""
    while error is not None:
        told = str(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in told for words in FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def passes(error: BaseException) -> bool:
    """Whether an error may be gone a moment later by itself: an address or a network drive that does not answer.

    Never a mistake of the user's, nor a full disk.
    """
    if isinstance(error, UserError):
        return False
    if isinstance(error, ConnectionError) or type(error) is TimeoutError:
        return True  # a time-out of a kind of its own is somebody's limit on a task
    inner = getattr(error, "reason", None)  # of urllib's errors
    if isinstance(inner, BaseException):
        return passes(inner)
    return isinstance(error, OSError) and error.errno in PASSING
