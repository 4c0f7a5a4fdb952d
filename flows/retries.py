"""Try again what may fail for a moment: outside of Prefect's tasks, which do the same by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from augpipe.core.errors import passes

# Seconds before another attempt, such as after a network drive or a download failed briefly.
DELAYS: Final = (5.0, 30.0)
R = TypeVar("R")


def retried(function: Callable[[], R], delays: Sequence[float] = DELAYS) -> R:
    """The function's result; it is called again after each delay if its error may pass."""
    for delay in delays:
        try:
            return function()
        except Exception as error:
            if not passes(error):
                raise
        time.sleep(delay)
    return function()
