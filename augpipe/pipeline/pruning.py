"""The store kept small: what was not used for long goes, oldest first.

Whatever a run makes or reuses is marked as used by its modification time. A run holds a lock while it is alive; nothing
used since the earliest of these runs started is deleted. A later run makes what it lacks again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.core.processes import hold, is_held
from augpipe.core.store import Store
from augpipe.pipeline.cache import RECORDS

RUNNING: Final = "running"
LIMIT: Final = "20GB"
UNITS: Final = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
AGES: Final = {"m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Item:
    """A file or folder of the store: its kind, its bytes, when it was last used (seconds since 1970)."""

    path: Path
    kind: str
    size: int
    used: float


@dataclass(frozen=True)
class Kept:
    """A record: what was made by which stage, when, and how large all of its own files are, in bytes."""

    stage: str
    key: str
    made: float
    used: float


def items(store: Store) -> list[Item]:
    """All that lies in the store, the longest unused first."""
    found = []
    for kind in store.root.iterdir() if store.root.is_dir() else ():
        if kind.name == RUNNING or not kind.is_dir():
            continue
        for path in kind.iterdir():
            try:
                found.append(Item(path, kind.name, _size(path), path.stat().st_mtime))
            except FileNotFoundError:
                continue  # another run took or renamed it
    return sorted(found, key=lambda item: (item.used, item.path))


def records(store: Store) -> list[Kept]:
    """What can be recalled, the longest unused first."""
    found = []
    for item in items(store):
        if item.kind != RECORDS or item.path.suffix != ".json":
            continue
        try:
            made = float(json.loads(item.path.read_bytes())["made"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        stage, _, key = item.path.stem.rpartition("-")
        found.append(Kept(stage, key, made, item.used))
    return found


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())


def store_limit() -> int:
    """Bytes that the store may hold after a run: `AUGPIPE_STORE_LIMIT`, by default LIMIT."""
    text = os.environ.get("AUGPIPE_STORE_LIMIT") or LIMIT
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]B)", text.strip())
    if not found:
        raise UserError(f"AUGPIPE_STORE_LIMIT is a size such as 500MB, 20GB or 1TB; got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def seconds(text: str) -> float:
    """`90m`, `12h`, `7d` → seconds; UserError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip())
    if not found:
        raise UserError(
            f"an age is a number of minutes, hours or days such as 90m, 12h or 7d; got {text!r}"
        )
    return float(found[1]) * AGES[found[2]]


@contextmanager
def running(store: Store) -> Iterator[None]:
    """Hold a lock while the block runs: nothing used since then is pruned. The lock file is named by its start time."""
    with hold(store.root / RUNNING / f"{time.time():.6f}-{uuid.uuid4().hex}"):
        yield


def begun(store: Store) -> float:
    """Start of the earliest run that is still alive, now if there is none. Lock files of dead runs are deleted."""
    folder = store.root / RUNNING
    locks = sorted(folder.iterdir()) if folder.is_dir() else []
    return min((_started(path) for path in locks if is_held(path)), default=time.time())


def _started(path: Path) -> float:
    return float(path.name.partition("-")[0])


def prune(store: Store, *, older_than: float = 0.0, limit: int | None = None) -> list[Item]:
    """Take away what was not used for `older_than` seconds; with `limit`, only until the store holds so many bytes.

    A record that names what is gone is not recalled: what it was is made anew. Returns what was taken.
    """
    have, until = items(store), min(time.time() - older_than, begun(store))
    over = sum(item.size for item in have) - limit if limit is not None else None
    taken: list[Item] = []
    for item in have:
        if item.used >= until or (over is not None and over <= 0):
            break
        taken.append(item)
        if over is not None:
            over -= item.size
    return [item for item in sorted(taken, key=lambda item: item.kind != RECORDS) if _gone(item)]


def _gone(item: Item) -> bool:
    """Take an item away; whether it is. One that was used since it was listed goes back.

    Under its own name it is whole or not there at all: a folder that is half removed would pass for a result.
    """
    draft = item.path.with_name(f".{item.path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        os.rename(item.path, draft)
        if draft.stat().st_mtime > item.used:
            os.rename(draft, item.path)
            return False
    except OSError:
        return False
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)
    return True
