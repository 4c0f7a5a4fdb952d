"""Files and folders that are written beside their place and renamed; SHA-256; JSON."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augpipe.core.errors import UserError, passes
from augpipe.core.home import make_folder
from augpipe.core.processes import is_mark_of_dead, mark

if TYPE_CHECKING:
    from augpipe.core.image_spec import ImageSpec


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """A new path next to `target`, deleted when the block ends; UserError if it cannot be written."""
    # With the process, so that the draft of one that was killed can be told from one in use.
    draft = target.parent / f".{target.name}.{mark()}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        make_folder(target.parent)
        yield draft
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        _remove(draft)


def _unwritable(target: Path, error: OSError) -> Exception:
    """UserError if the target itself is not writable (disk full, read-only);
    transient and other errors are returned unchanged.
    """
    if passes(error):
        return error
    place = str(error.filename or "")
    ours = not place or place.startswith(str(target.parent)) or str(target).startswith(place)
    reason = error.strerror or str(error)
    return UserError(f"cannot write to {target}: {reason}") if ours else error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A draft path for a file or folder, renamed to `target` when the block succeeds.

    `target` never holds a partial result. An existing folder is replaced completely, in one step where the system can
    exchange two folders; elsewhere a kill between two renames leaves it as `.target.replaced`, which the next call puts
    back. Drafts of processes that were killed are deleted. Raises UserError if the target cannot be written.
    """
    target = target.resolve()
    old = target.parent / f".{target.name}.replaced"
    if old.is_dir():  # of a process that was killed
        _remove(old) if target.exists() else os.rename(old, target)
    sweep(target.parent, target.name)
    with draft_of(target) as draft:
        yield draft
        if not target.is_dir():
            os.replace(draft, target)
        elif not _exchange(draft, target):
            os.rename(target, old)
            try:
                os.rename(draft, target)
            except OSError:
                os.rename(old, target)
                raise
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def scratch(name: str, folder: Path | None = None) -> Iterator[Path]:
    """A new folder for the duration of the block, readable by its user only; those of processes that were killed are
    deleted.

    folder: where it is; None: where the system has temporary files.
    """
    place = folder or Path(tempfile.gettempdir())
    sweep(place, name)
    path = place / f".{name}.{mark()}-{uuid.uuid4().hex[:8]}.tmp"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        _remove(path)


@contextmanager
def temporary(prefix: str) -> Iterator[str]:
    """A new folder where the system has temporary files, deleted after the block.

    TMPDIR is created again if all of it was deleted, as may happen in a run of days.
    """
    Path(tempfile.gettempdir()).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield folder


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot (renameat2 of Linux can)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    status: int = renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return status == 0


def sweep(folder: Path, name: str = "*") -> None:
    """Delete drafts below this name whose process has ended."""
    for draft in folder.glob(f".{glob.escape(name) if name != '*' else name}.*.tmp"):
        if is_mark_of_dead(draft.name.removesuffix(".tmp").rpartition(".")[2].rpartition("-")[0]):
            _remove(draft)


def sync(path: Path) -> None:
    """Wait until a file, or a folder and its files, are on the disk."""
    for place in [*path.iterdir(), path] if path.is_dir() else [path]:
        _sync(place)


def _sync(place: Path) -> None:
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def rename(draft: Path, target: Path) -> None:
    """Rename a finished file or folder so that its name never stands for less than all of it,
    even after a power failure.
    """
    sync(draft)
    os.rename(draft, target)
    _sync(target.parent)


def check_regular(path: Path) -> None:
    """OSError if a path exists and is no regular file: whoever opens a pipe waits until something writes to it.

    FileNotFoundError if it does not exist.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's sorted (relative name, SHA-256) lines; OSError for pipes and sockets."""
    if path.is_dir():
        lines = (
            f"{file.relative_to(path).as_posix()} {digest(file)}\n"
            for file in sorted(path.rglob("*"))
            if file.exists() and not file.is_dir()
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    check_regular(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys and a final newline."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def check_space(folder: Path, n: int, spec: ImageSpec) -> None:
    """UserError if the pixels of n images need more space than the disk of `folder` has free."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    needed, free = n * math.prod(spec.shape), shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{n:,} images of {spec.size} px need {needed / 1e9:,.1f} GB, "
            f"and {existing} has {free / 1e9:,.1f} GB free: choose fewer"
        )


def damaged_part(path: Path) -> str:
    """The first part of a file written by torch whose checksum does not hold, "" if all do; BadZipFile if it is no such
    file.

    torch does not compare the checksums of the archive that it reads.
    """
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() or ""
