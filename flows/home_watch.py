"""Notices that AUGPIPE_HOME was deleted during a run, and ends the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from augpipe.core.errors import RunError
from augpipe.core.home import home
from augpipe.core.processes import environment_variable

from .progress import repeated
from .signals import received

EVERY: Final = 2.0  # seconds between two looks
LOCK: Final = "AUGPIPE_RUNNING"  # environment variable: the run's lock file in its store, for its workers too


def is_home_deleted() -> bool:
    """Whether AUGPIPE_HOME was deleted during the run that this process belongs to; False outside of one."""
    lock = os.environ.get(LOCK)
    if lock is None:
        return False
    try:
        os.lstat(lock)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # such as a network disk that fails for a moment
        return False
    return False


@contextmanager
def home_watched(lock: Path, on_loss: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call `on_loss` from a thread once the run's lock file no longer exists.

    RunError if the block fails after that.
    """
    place, ended = home(), list[bool]()  # now: a relative one needs the working directory

    def look() -> None:
        if is_home_deleted() and not ended:
            ended.append(True)
            on_loss()

    with environment_variable(LOCK, str(lock)), repeated(look, EVERY):
        try:
            yield
        except Exception:
            if is_home_deleted() and received() is None:
                raise RunError(f"the store in {place} was deleted during the run") from None
            raise
