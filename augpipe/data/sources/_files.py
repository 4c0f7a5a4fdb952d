"""A folder's files, found without leaving it and without following a link in a circle."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from augpipe.core.errors import UserError
from augpipe.data.sources._listing import Bad
from augpipe.data.sources._pictures import OTHER_FORMATS, begins_as_picture


@dataclass
class Found:
    """Paths with `/` below the root, sorted; what cannot be used; and what is no picture, by suffix."""

    paths: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    lost: list[str] = field(
        default_factory=list
    )  # folders that were not entered, so that their files are missing
    ignored: Counter[str] = field(default_factory=Counter)


def walk(root: Path, suffixes: tuple[str, ...] | None) -> Found:
    """Every file whose name ends in one of `suffixes` (None: every file); UserError where a folder cannot be listed.

    Hidden files and folders are left out, and counted. Links to folders are not followed; links to files
    are, within the root.
    """
    found, whole = Found(), root.resolve()
    waiting = [("", str(root))]
    while waiting:
        inner, folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if not inner:
                raise UserError(f"cannot list the folder {folder}: {error.strerror}") from None
            found.bad.append(Bad(inner[:-1], f"a folder that cannot be listed: {error.strerror}"))
            found.lost.append(f"the folder {inner[:-1]}: {error.strerror}")
            continue
        for entry in entries:
            path = f"{inner}{entry.name}"
            if entry.name.startswith("."):
                found.ignored["hidden"] += 1
                continue
            reason = _refused(entry, whole, suffixes)
            if reason is not None:
                if reason:
                    found.bad.append(Bad(printable(path), reason))
                    if os.path.isdir(entry.path) and "not followed" not in reason:  # noqa: PTH112 (False where it loops)
                        found.lost.append(f"the folder {printable(path)}: {reason}")
                else:
                    found.ignored[Path(entry.name).suffix.lower() or "no suffix"] += 1
            elif entry.is_dir(follow_symlinks=False):
                found.folders.append(path)
                waiting.append((f"{path}/", entry.path))
            else:
                found.paths.append(path)
    found.paths.sort()
    found.folders.sort()
    return found


def _refused(entry: os.DirEntry[str], root: Path, suffixes: tuple[str, ...] | None) -> str | None:
    """Why an entry is left out: a reason, "" for a file that is no picture, None where it is taken."""
    plain_folder = entry.is_dir(follow_symlinks=False)
    wanted = suffixes is None or entry.name.lower().endswith(suffixes)
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8; rename it" if wanted or plain_folder else ""
    if entry.is_symlink():
        return _link(entry, root, wanted)
    if plain_folder:
        return None
    if not wanted:
        return _unwanted(entry)
    return None if entry.is_file(follow_symlinks=False) else "neither a file nor a folder"


def _unwanted(entry: os.DirEntry[str]) -> str | None:
    """Of a file that is not called a picture: a format that is not read, none at all, or one by its content."""
    suffix = Path(entry.name).suffix.lower()
    if suffix in OTHER_FORMATS:
        return f"{suffix[1:].upper()}, a format that is not read"
    plain = not suffix and entry.is_file(follow_symlinks=False)
    return None if plain and begins_as_picture(Path(entry.path)) else ""


def _link(entry: os.DirEntry[str], root: Path, wanted: bool) -> str | None:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "a link that leads nowhere, or to itself"
    if not target.is_relative_to(root):
        return f"a link that leaves the folder {root}; copy what it shows"
    if target.is_dir():
        return "a link to a folder, which is not followed"
    if not target.is_file():
        return "a link to what is neither a file nor a folder"
    return None if wanted else ""


def printable(name: str) -> str:
    """A name as text that can be written down; bytes that are no UTF-8 as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
