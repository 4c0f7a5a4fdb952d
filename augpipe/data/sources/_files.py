"""Walk a folder without leaving it and without following links to folders."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError, several
from augpipe.data.sources._dicom import SUFFIXES as DICOM
from augpipe.data.sources._dicom import is_dicom
from augpipe.data.sources._formats import OTHER_FORMATS, starts_as_picture
from augpipe.data.sources._listing import Bad

# Folders that systems, network drives (Synology, QNAP, NetApp) and programs leave beside pictures, with copies of them.
SYSTEM_FOLDERS: Final = frozenset(
    {
        "__macosx",
        "temporary items",
        "network trash folder",
        "$recycle.bin",
        "recycler",
        "recycled",
        "found.000",
        "system volume information",
        "lost+found",
        "@eadir",
        "@tmp",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
        "@sharebin",
        "~snapshot",
        "_gsdata_",
        "__pycache__",
    }
)
NO_DICOM: Final = (
    "DICOM, which is read from a folder of DICOM alone (source.kind: dicom) or by a table that names the files"
)
LFS: Final = b"version https://git-lfs"  # first bytes of a pointer


@dataclass
class Files:
    """Sorted paths and folders with `/` relative to the root, unusable files, and ignored files by suffix."""

    paths: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # folders that could not be read: their files are missing
    ignored: Counter[str] = field(default_factory=Counter)


def walk(root: Path, suffixes: tuple[str, ...] | None) -> Files:
    """List every file with one of `suffixes` (None: every file); UserError if the root cannot be listed.

    Hidden files and folders, and SYSTEM_FOLDERS, are skipped and counted. Links to folders are not followed; links to
    files within the root are.
    """
    files, resolved_root = Files(), root.resolve()
    pending = [("", str(root))]
    while pending:
        prefix, folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if not prefix:
                raise UserError(f"cannot list the folder {folder}: {error.strerror}") from None
            files.bad.append(Bad(prefix[:-1], f"cannot list the folder: {error.strerror}"))
            files.lost.append(f"the folder {prefix[:-1]}: {error.strerror}")
            continue
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if entry.name.startswith("."):
                files.ignored["hidden"] += 1
                continue
            if entry.name.lower() in SYSTEM_FOLDERS:
                files.ignored[entry.name] += 1
                continue
            reason = _reason(entry, resolved_root, suffixes)
            if reason is not None:
                if reason:
                    files.bad.append(Bad(printable(path), reason))
                    if os.path.isdir(entry.path) and "not followed" not in reason:  # noqa: PTH112 (False where it loops)
                        files.lost.append(f"the folder {printable(path)}: {reason}")
                else:
                    files.ignored[Path(entry.name).suffix.lower() or "no suffix"] += 1
            elif entry.is_dir(follow_symlinks=False):
                files.folders.append(path)
                pending.append((f"{path}/", entry.path))
            else:
                files.paths.append(path)
    files.paths.sort()
    files.folders.sort()
    return files


def check_fetched(path: Path) -> None:
    """UserError if a file is only Git LFS's pointer to it, as in a clone without LFS."""
    try:
        with path.open("rb") as stream:
            pointer = stream.read(len(LFS)) == LFS
    except OSError:
        return  # reading it later reports the reason
    if pointer:
        raise UserError(f"{path} is a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`")


def selected(
    paths: Sequence[str], include: Sequence[str], exclude: Sequence[str], where: str
) -> tuple[list[str], tuple[str, ...]]:
    """Paths that match a pattern of `include`, if there are any, and none of `exclude`, and notes of how many others
    there are; `*` also matches `/`.

    UserError for a pattern that matches no path: it would be ignored.
    """
    remaining, notes = list(paths), list[str]()
    for name, patterns in (("include", include), ("exclude", exclude)):
        if not patterns:
            continue
        matched = set[str]().union(*(_matching(paths, pattern, f"source.{name}", where) for pattern in patterns))
        rest = [path for path in remaining if (path in matched) == (name == "include")]
        if remaining and not rest:
            raise UserError(f"source.{name} leaves out all {several(len(remaining), 'picture')} of {where}")
        notes.append(f"{several(len(remaining) - len(rest), 'picture')} left out by source.{name}")
        remaining = rest
    return remaining, tuple(notes)


def _matching(paths: Sequence[str], pattern: str, option: str, where: str) -> set[str]:
    matches = re.compile(fnmatch.translate(pattern)).match
    matched = {path for path in paths if matches(path)}
    if not matched:
        example = f"; the first is {paths[0]!r}" if paths else ""
        raise UserError(f"{option} {pattern!r} matches no picture of {where}{example}")
    return matched


def _reason(entry: os.DirEntry[str], root: Path, suffixes: tuple[str, ...] | None) -> str | None:
    """Why an entry is not used: a reason, "" for a file that is not a picture, None if it is used."""
    plain_folder = entry.is_dir(follow_symlinks=False)
    wanted = suffixes is None or entry.name.lower().endswith(suffixes)
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "a file name that is not UTF-8; rename it" if wanted or plain_folder else ""
    if entry.is_symlink():
        return _link(entry, root, wanted)
    if plain_folder:
        return None
    if not wanted:
        return _other_suffix(entry, suffixes or ())
    return None if entry.is_file(follow_symlinks=False) else "neither a file nor a folder"


def _other_suffix(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> str | None:
    """Like `_reason`, for a file without a wanted suffix:
    unsupported format, not a picture, or a picture or DICOM by content.
    """
    suffix = Path(entry.name).suffix.lower()
    if suffix in OTHER_FORMATS:
        return f"{suffix[1:].upper()}, an unsupported format"
    dicom = suffix in DICOM
    if not suffix and entry.is_file(follow_symlinks=False):
        try:
            with Path(entry.path).open("rb") as stream:
                dicom = is_dicom(stream)
                if starts_as_picture(stream.read(8)):
                    return None
        except OSError:
            return None  # reading it later reports the reason
    if not dicom:
        return ""
    return None if set(DICOM) <= set(suffixes) else NO_DICOM


def _link(entry: os.DirEntry[str], root: Path, wanted: bool) -> str | None:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "a broken or circular link"
    if not target.is_relative_to(root):
        return f"a link to outside the folder {root}; copy the file"
    if target.is_dir():
        return "a link to a folder, which is not followed"
    if not target.is_file():
        return "a link to something that is neither a file nor a folder"
    return None if wanted else ""


def printable(name: str) -> str:
    """File name as valid UTF-8 text; other bytes are written as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
