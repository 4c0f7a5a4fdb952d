"""Paths of a table against the root: checked, and completed where the table names files without folder, suffix or case."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import several
from augpipe.data.sources._files import walk
from augpipe.data.sources._pictures import SUFFIXES

MISSING: Final = "file does not exist"


@dataclass
class Paths:
    """Check paths of a table; each folder is listed once instead of one `stat` per file."""

    root: Path
    _folders: dict[str, dict[str, str]] = field(default_factory=dict)
    _completed: list[tuple[str, str]] = field(default_factory=list)

    def resolve(
        self, paths: NDArray[np.object_], reasons: NDArray[np.object_]
    ) -> NDArray[np.object_]:
        """Paths as written → paths with `/` relative to the root; sets `reasons` of unusable ones."""
        relative = np.empty(len(paths), dtype=object)
        for row, path in enumerate(paths):
            relative[row], reasons[row] = self.one(path)
        return relative

    def notes(self) -> tuple[str, ...]:
        """How many paths were completed, with an example."""
        if not self._completed:
            return ()
        given, found = self._completed[0]
        return (
            f"{several(len(self._completed), 'path')} of the table completed: {given} is {found}",
        )

    def one(self, path: str) -> tuple[str, str]:
        """A path as written → relative to the root, and why it cannot be used ("" if it can)."""
        prefix = f"{self.root.as_posix()}/"
        plain = path[len(prefix):] if path.startswith(prefix) else path  # fmt: skip
        if not plain:
            return plain, "no path"
        if plain.startswith("/") or "\0" in plain or ".." in plain.split("/"):
            return plain, f"a path outside the root {self.root}"
        if "./" in plain or "//" in plain:
            plain = os.path.normpath(plain)
        reason = self._reason(plain)
        if reason == MISSING and (bare := plain.strip()) != plain and not self._reason(bare):
            return bare, ""
        return self._complete(plain) if reason == MISSING else (plain, reason)

    def _reason(self, plain: str) -> str:
        folder, _, name = plain.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._names(folder)
        names = self._folders[folder]
        return names.get(name, names.get("", MISSING))

    def _complete(self, given: str) -> tuple[str, str]:
        """The only picture below the root whose path ends with the given one.

        Without regard to case, slashes and the form of accents; without its suffix if none is given; leading folders may be
        the last ones of the root itself.
        """
        parts = _parts(given)
        for top in range(len(parts) - 1):  # `data/x/1.png` below the root `.../data`
            if parts[: top + 1] == self._root_parts[-top - 1 :]:
                parts = parts[top + 1 :]
                break
        whole = given.strip().lower().endswith(SUFFIXES)
        last = _stem(parts[-1])
        near = (
            self._by_folder.get((parts[-2], last), ())
            if len(parts) > 1
            else self._by_name.get(last, ())
        )
        fitting = []
        for path in near:
            ends = _parts(path)[-len(parts) :]
            if [*ends[:-1], ends[-1] if whole else _stem(ends[-1])] == parts:
                fitting.append(path)
        if len(fitting) == 1 and not self._reason(fitting[0]):
            self._completed.append((given, fitting[0]))
            return fitting[0], ""
        if len(fitting) > 1:
            return given, f"{len(fitting)} files of this name: {', '.join(fitting[:2])}"
        return given, MISSING

    @cached_property
    def _root_parts(self) -> list[str]:
        return _parts(self._resolved.as_posix())

    @cached_property
    def _by_folder(self) -> dict[tuple[str, str], list[str]]:
        """Every picture below the root by its folder and its name without suffix; walked once, when a path is missing."""
        pictures = defaultdict(list)
        for path in walk(self.root, SUFFIXES).paths:
            parts = _parts(path)
            pictures[parts[-2] if len(parts) > 1 else "", _stem(parts[-1])].append(path)
        return dict(pictures)

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
            return {
                "": "file does not exist" if missing else str(getattr(error, "strerror", error))
            }
        names = {}
        for entry in entries:
            try:
                names[entry.name] = "" if entry.is_file() else "not a file"
                if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(
                    resolved_root
                ):
                    names[entry.name] = f"a link to outside the root {self.root}"
            except (OSError, RuntimeError):
                names[entry.name] = "a broken or circular link"
        return names

    @cached_property
    def _resolved(self) -> Path:
        return self.root.resolve()


def _parts(path: str) -> list[str]:
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/")).casefold().split("/")


def _stem(name: str) -> str:
    """A name without the suffix of a picture."""
    return next((name[: -len(end)] for end in SUFFIXES if name.endswith(end)), name)
