"""Paths of a table against its roots:
checked, and completed where the table names files without folder, suffix or case.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.sources._dicom import SUFFIXES as DICOM
from augpipe.data.sources._files import walk
from augpipe.data.sources._pictures import SUFFIXES as PICTURES

SUFFIXES: Final = (*PICTURES, *DICOM)
MISSING: Final = "file does not exist"
LOOKED_AT: Final = 20  # paths for which a file is sought that may be meant
OUTSIDE: Final = "a path outside the root"


def unique_ids(paths: NDArray[np.object_], root_of: NDArray[np.int64], roots: Sequence[Path]) -> list[str]:
    """Unique names of files: paths (N,) relative to the root of each; one that two roots have gets the root's name in
    front.

    root_of: int64 (N,), indices into roots. No file is listed twice.
    """
    first: dict[str, int] = {}
    shared = {
        str(path)
        for path, root in zip(paths, root_of.tolist(), strict=True)
        if first.setdefault(str(path), root) != root
    }
    if not shared:
        return [str(path) for path in paths]
    parts, n = [root.resolve().parts for root in roots], 1
    while len({one[-n:] for one in parts}) < len(parts):
        n += 1
    names = ["/".join(one[-n:]) for one in parts]
    prefixed = [f"{names[root]}/{path}" for path, root in zip(paths, root_of.tolist(), strict=True)]
    ids = [long if path in shared else str(path) for long, path in zip(prefixed, paths, strict=True)]
    # A path below one root may be written like a root's name and a path below that.
    return ids if len(set(ids)) == len(ids) else prefixed


class Location(NamedTuple):
    """A path with `/` relative to its root, why it cannot be used ("" if it can), the root's index, whether the path
    was completed, and whether it fits several files."""

    path: str
    reason: str
    root: int
    completed: bool = False
    ambiguous: bool = False


class Packed(NamedTuple):
    """A root inside an archive: its pictures are listed, not files. pictures: paths with `/` relative to `root`."""

    root: Path
    pictures: Sequence[str]


class Paths:
    """Check paths of a table against one root or several; a file must be below one of them only."""

    def __init__(self, roots: Sequence[Path | Packed]) -> None:
        self._roots = [
            _PackedRoot(root.root, index, pictures=root.pictures) if isinstance(root, Packed) else _Root(root, index)
            for index, root in enumerate(roots)
        ]
        self._completed: list[tuple[str, str]] = []

    def resolve(
        self, paths: NDArray[np.object_], reasons: NDArray[np.object_]
    ) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
        """Paths as written → paths relative to their roots, and indices of these (N,); sets `reasons` of unusable ones.

        UserError for a path that fits a file below each of two roots.
        """
        relative, roots = np.empty(len(paths), dtype=object), np.zeros(len(paths), np.int64)
        for row, path in enumerate(paths):
            locations = self._locations(path)
            if len(locations) > 1:
                files = [str(self._roots[one.root].root / one.path) for one in locations[:2]]
                raise UserError(
                    f"{path!r} is in two folders of source.root: {' and '.join(files)}; remove one of the files, or "
                    "one folder"
                )
            (one,) = locations
            relative[row], reasons[row], roots[row] = one.path, one.reason, one.root
            if one.completed:
                self._completed.append((path, one.path))
        return relative, roots

    def notes(self) -> tuple[str, ...]:
        """How many paths were completed, with an example."""
        if not self._completed:
            return ()
        written, completed = self._completed[0]
        return (f"{several(len(self._completed), 'path')} of the table completed: {written} is {completed}",)

    def hint(self, paths: NDArray[np.object_], reasons: NDArray[np.object_]) -> tuple[str, ...]:
        """A note if paths that fit no file end as one does:
        absolute ones of another machine, or with another suffix.
        """
        missing = [row for row, why in enumerate(reasons) if why == MISSING or why.startswith(OUTSIDE)]
        for row in missing[:LOOKED_AT]:
            for root in self._roots:
                if match := root.ending(str(paths[row])):
                    return (
                        f"{several(len(missing), 'path')} of the table fit no file below the root, and may be meant "
                        f"for one: {paths[row]} for {match}; write the paths as they are below the root",
                    )
        return ()

    def one(self, path: str) -> Location:
        """A path as written → its first location."""
        return self._locations(path)[0]

    def _locations(self, path: str) -> list[Location]:
        """Where the path fits a file, as written or else completed; a single location with the reason if nowhere."""
        exact = [root.exact(path) for root in self._roots]
        if usable := [one for one in exact if not one.reason]:
            return usable
        completed = [self._roots[one.root].complete(one.path) if one.reason == MISSING else one for one in exact]
        if len(completed) == 1:
            return completed
        # A path that fits several files below one root must not be another root's only one.
        if ambiguous := [one for one in completed if one.ambiguous]:
            return ambiguous[:1]
        if usable := [one for one in completed if not one.reason]:
            return usable
        # A path that is absolute is outside of all roots but one.
        inside = [one for one in completed if not one.reason.startswith(OUTSIDE)] or completed
        return sorted(inside, key=lambda one: one.reason == MISSING)[:1]


@dataclass
class _Root:
    """A folder of pictures; each folder below it is listed once instead of one `stat` per file."""

    root: Path
    index: int
    _folders: dict[str, dict[str, str]] = field(default_factory=dict)

    def exact(self, path: str) -> Location:
        """The file that a path names as it is written, but for spaces around it."""
        prefix = f"{self.root.as_posix()}/"
        plain = path[len(prefix) :] if path.startswith(prefix) else path
        if not plain:
            return Location(plain, "no path", self.index)
        if plain.startswith("/") or "\0" in plain or ".." in plain.split("/"):
            return Location(plain, f"{OUTSIDE} {self.root}", self.index)
        if "./" in plain or "//" in plain:
            plain = os.path.normpath(plain)
        reason = self._reason(plain)
        if reason == MISSING and (bare := plain.strip()) != plain and not self._reason(bare):
            return Location(bare, "", self.index)
        return Location(plain, reason, self.index)

    def _reason(self, plain: str) -> str:
        folder, _, name = plain.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._names(folder)
        names = self._folders[folder]
        return names.get(name, names.get("", MISSING))

    def complete(self, given: str) -> Location:
        """The only picture below the root whose path ends with the given one.

        Without regard to case, slashes and the form of accents; without its suffix if none is given; leading folders
        may be the last ones of the root itself.
        """
        parts = _parts(given)
        for top in range(len(parts) - 1):  # `data/x/1.png` below the root `.../data`
            if parts[: top + 1] == self._root_parts[-top - 1 :]:
                parts = parts[top + 1 :]
                break
        whole = given.strip().lower().endswith(SUFFIXES)
        last = _stem(parts[-1])
        near = self._by_folder.get((parts[-2], last), ()) if len(parts) > 1 else self._by_name.get(last, ())
        fitting = []
        for path in near:
            ends = _parts(path)[-len(parts) :]
            if [*ends[:-1], ends[-1] if whole else _stem(ends[-1])] == parts:
                fitting.append(path)
        if len(fitting) == 1 and not self._reason(fitting[0]):
            return Location(fitting[0], "", self.index, completed=True)
        if len(fitting) > 1:
            return Location(
                given, f"{len(fitting)} files of this name: {', '.join(fitting[:2])}", self.index, ambiguous=True
            )
        return Location(given, MISSING, self.index)

    def ending(self, given: str) -> str:
        """The only picture whose path, but for the suffix, is the end of the given one; "" if none is."""
        parts = _parts(given)
        parts = [*parts[:-1], _stem(parts[-1])]
        near = self._by_name.get(parts[-1], ())
        for top in range(len(parts)):
            ends = parts[top:]
            fit = [p for p in near if [*(e := _parts(p))[-len(ends) : -1], _stem(e[-1])] == ends]
            if fit:
                return fit[0] if len(fit) == 1 else ""
        return ""

    @cached_property
    def _root_parts(self) -> list[str]:
        return _parts(self._resolved.as_posix())

    @cached_property
    def _by_folder(self) -> dict[tuple[str, str], list[str]]:
        """Every picture below the root by its folder and its name without suffix;
        walked once, when a path is missing.
        """
        pictures = defaultdict(list)
        for path in self._pictures():
            parts = _parts(path)
            pictures[parts[-2] if len(parts) > 1 else "", _stem(parts[-1])].append(path)
        return dict(pictures)

    def _pictures(self) -> Sequence[str]:
        return walk(self.root, SUFFIXES).paths

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        pictures: dict[str, list[str]] = defaultdict(list)
        for (_, name), paths in self._by_folder.items():
            pictures[name] += paths
        return {name: sorted(paths) for name, paths in pictures.items()}

    def _names(self, folder: str) -> dict[str, str]:
        """File names of a folder → reason why unusable ("" if usable); key "" holds a reason for the whole folder."""
        path, resolved_root = self.root / folder, self._resolved
        try:
            if not path.resolve(strict=True).is_relative_to(resolved_root):
                return {"": f"a link to outside the root {self.root}"}
            entries = list(os.scandir(path))
        except (OSError, RuntimeError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            return {"": "file does not exist" if missing else str(getattr(error, "strerror", error))}
        names = {}
        for entry in entries:
            try:
                names[entry.name] = "" if entry.is_file() else "not a file"
                if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(resolved_root):
                    names[entry.name] = f"a link to outside the root {self.root}"
            except (OSError, RuntimeError):
                names[entry.name] = "a broken or circular link"
        return names

    @cached_property
    def _resolved(self) -> Path:
        return self.root.resolve()


@dataclass
class _PackedRoot(_Root):
    """Pictures of an archive; nothing is looked up on disk."""

    pictures: Sequence[str] = ()

    def _pictures(self) -> Sequence[str]:
        return self.pictures

    def _names(self, folder: str) -> dict[str, str]:
        return self._in_folders.get(folder, {"": MISSING})

    @cached_property
    def _in_folders(self) -> dict[str, dict[str, str]]:
        folders: dict[str, dict[str, str]] = {}
        for path in self.pictures:
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, {})[name] = ""
        return folders


def _parts(path: str) -> list[str]:
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/")).casefold().split("/")


def _stem(name: str) -> str:
    """A name without the suffix of a picture."""
    return next((name[: -len(end)] for end in SUFFIXES if name.endswith(end)), name)
