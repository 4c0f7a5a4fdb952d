"""Limit the size of the store: delete the least recently used files.

The modification time of a file is the time of its last use. A run holds a lock while it is alive; nothing used since
the earliest living run started is deleted. A later run computes deleted results again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augpipe.core.files import check_regular, sweep
from augpipe.core.home import home
from augpipe.core.processes import hold, is_held
from augpipe.core.store import Store
from augpipe.pipeline.cache import RECORDS

RUNNING: Final = "running"
# Names of lock files: start time and a random number; of earlier versions, which did not lock them, hexadecimal digits.
LOCK: Final = re.compile(r"\d+\.\d+-\w+|[0-9a-f]+")
TRACKED: Final = ("mlflow.db", "artifacts")  # below AUGPIPE_HOME: records, models and files of tracked runs


@dataclass(frozen=True)
class Item:
    """A file or folder of the store: kind, size in bytes, time of last use (seconds since 1970)."""

    path: Path
    kind: str
    size: int
    used: float


@dataclass(frozen=True)
class StoredResult:
    """A cached result of a stage: its key, and when it was created and last used (seconds since 1970)."""

    stage: str
    key: str
    created: float
    used: float


def items(store: Store) -> list[Item]:
    """All files and folders of the store, least recently used first."""
    entries = []
    for kind in store.root.iterdir() if store.root.is_dir() else ():
        if kind.name == RUNNING or not kind.is_dir():
            continue
        for path in kind.iterdir():
            try:
                entries.append(Item(path, kind.name, _size(path), path.stat().st_mtime))
            except FileNotFoundError:
                continue  # deleted or renamed by another run
    return sorted(entries, key=lambda item: (item.used, item.path))


def records(store: Store) -> list[StoredResult]:
    """Cached results, least recently used first."""
    results = []
    for item in items(store):
        if item.kind != RECORDS or item.path.suffix != ".json":
            continue
        try:
            check_regular(item.path)
            created = float(json.loads(item.path.read_bytes())["made"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        stage, _, key = item.path.stem.rpartition("-")
        results.append(StoredResult(stage, key, created, item.used))
    return results


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    sizes = 0
    for inner in path.rglob("*"):
        with suppress(FileNotFoundError):  # deleted meanwhile by another run
            sizes += inner.stat().st_size if inner.is_file() else 0
    return sizes


def size_below_home(*names: str) -> int:
    """Bytes of files and folders of AUGPIPE_HOME; 0 for those that do not exist."""
    paths = (home() / name for name in names)
    return sum(_size(path) for path in paths if path.exists())


@contextmanager
def running(store: Store) -> Iterator[Path]:
    """Hold a lock while the block runs: nothing used since then is pruned. The lock file is named by its start time.

    Before and after it, drafts of processes that were killed are deleted: a stopped run kills its workers while they
    write.
    """
    _sweep(store)
    lock = store.root / RUNNING / f"{time.time():.6f}-{uuid.uuid4().hex}"
    with hold(lock):
        try:
            yield lock
        finally:
            _sweep(store)


def _sweep(store: Store) -> None:
    for kind in store.root.iterdir() if store.root.is_dir() else ():
        sweep(kind)


def is_in_use(store: Store) -> bool:
    """Whether a run of any process is alive."""
    return any(is_held(path) for path in _locks(store))


def earliest_start(store: Store) -> float:
    """Start of the earliest run that is still alive, now if there is none. Lock files of dead runs are deleted."""
    return min((_started(path) for path in _locks(store) if is_held(path)), default=time.time())


def _locks(store: Store) -> list[Path]:
    """Lock files of runs. Whatever else lies in their folder, such as a network drive's @eaDir, is left alone."""
    folder = store.root / RUNNING
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if LOCK.fullmatch(path.name) and path.is_file()]


def _started(path: Path) -> float:
    return float(path.name.partition("-")[0])


def prune(store: Store, *, older_than: float = 0.0, limit: int | None = None) -> list[Item]:
    """Delete items not used for `older_than` seconds; with `limit` (bytes), only until the store is within it.

    A record whose files are gone is ignored, so its result is computed again. Returns the deleted items.
    """
    entries, until = items(store), min(time.time() - older_than, earliest_start(store))
    over = sum(item.size for item in entries) - limit if limit is not None else None
    deleted: list[Item] = []
    for item in entries:
        if item.used >= until or (over is not None and over <= 0):
            break
        deleted.append(item)
        if over is not None:
            over -= item.size
    return [item for item in sorted(deleted, key=lambda item: item.kind != RECORDS) if _delete(item)]


def _delete(item: Item) -> bool:
    """Delete an item and return whether it was deleted; an item used since it was listed is restored.

    Renamed first, because a half-deleted folder under its own name would be taken for a result.
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
