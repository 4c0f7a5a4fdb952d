"""The store kept small: what was not used for long goes, oldest first.

Whatever a run makes or recalls is marked as used by its time of change. A run that goes on leaves a mark as well; nothing
used since the first of these began is taken. What a later run lacks it makes anew.
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
from augpipe.core.processes import is_dead, this_process
from augpipe.core.store import Store, beside
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
    """Leave a mark while the block runs: what is used meanwhile is not pruned."""
    mark = store.root / RUNNING / uuid.uuid4().hex
    with beside(mark) as draft:
        draft.write_text(f"{time.time()}\n{this_process()}", encoding="utf-8")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def begun(store: Store) -> float:
    """When the first of the runs that go on began; now where none does. Marks of dead processes are taken away.

    A mark from another machine counts for as long as it lies there.
    """
    first = time.time()
    folder = store.root / RUNNING
    for mark in folder.iterdir() if folder.is_dir() else ():
        try:
            when, process = mark.read_text(encoding="utf-8").splitlines()
            if is_dead(process):
                mark.unlink(missing_ok=True)
            else:
                first = min(first, float(when))
        except (OSError, ValueError):
            continue  # it ended between listing and reading, or is a draft of one that begins
    return first


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
