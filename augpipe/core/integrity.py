"""Stored content is compared with its SHA-256 when a process first uses it; damaged content is moved away.

The comparison is repeated when inode, size or modification time of a file has changed since the last one.
"""

from __future__ import annotations

import errno
import logging
import os
import uuid
from pathlib import Path
from typing import Final

from augpipe.core.files import digest

DAMAGED: Final = "damaged"  # folder of the store
LOGGER: Final = logging.getLogger("augpipe")

_State = tuple[tuple[str, int, int, int], ...]
_compared: dict[Path, tuple[str, _State]] = {}


def intact(path: Path, sha256: str) -> bool:
    """Whether a stored file or folder is there and has this SHA-256, or begins with these digits of it.

    Content that has another one is moved to the store's folder `damaged`, and a warning is logged.
    """
    try:
        state = _state(path)
        if _compared.get(path) == (sha256, state):
            return True
        if _has_digest(path, sha256):
            _compared[path] = (sha256, state)
            return True
        if _state(path) == state:  # otherwise another process has replaced it meanwhile
            _set_aside(path)
    except FileNotFoundError:
        pass
    return False


def _has_digest(path: Path, sha256: str) -> bool:
    try:
        return digest(path).startswith(sha256)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False  # a pipe, a socket, or a folder that holds one


def touch(path: Path) -> bool:
    """Set the modification time to now without a new comparison; return whether the path exists."""
    known = _compared.get(path)
    try:
        unchanged = known is not None and _state(path) == known[1]
        os.utime(path)
        if known is not None and unchanged:
            _compared[path] = (known[0], _state(path))
    except FileNotFoundError:
        return False
    except PermissionError:  # another user's file in a shared store
        return path.exists()
    return True


def _state(path: Path) -> _State:
    """Name, inode, size and modification time of the file, or of each file of the folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files]
    return tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats)


def _set_aside(path: Path) -> None:
    folder = path.parents[1] / DAMAGED
    place = folder / f"{path.parent.name}-{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(exist_ok=True)
        os.rename(path, place)
        where = f"It was moved to {place}"
    except PermissionError:  # another user's file in a shared store
        where = "It could not be moved away"
    LOGGER.warning(
        "%s is damaged: its content does not match its SHA-256. %s; its result is computed again.", path, where
    )
