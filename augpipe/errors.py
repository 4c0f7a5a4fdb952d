"""The user's mistakes, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: one line that names the value and the choices (exit status 2)."""


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
