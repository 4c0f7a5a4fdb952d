"""A root of a table's paths: the pictures below it, and which of them a path means."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from augpipe.data.sources._dicom import SUFFIXES as DICOM
from augpipe.data.sources._files import walk
from augpipe.data.sources._formats import SUFFIXES as PICTURES
from augpipe.data.sources._path_forms import number_in

SUFFIXES: Final = (*PICTURES, *DICOM)
MISSING: Final = "file does not exist"
OUTSIDE: Final = "a path outside the root"
AMBIGUOUS: Final = "files of this name"
NO_FILE: Final = "not a file"


class Location(NamedTuple):
    """A path with `/` relative to its root, why it cannot be used ("" if it can), the root's index, whether the path
    was completed, whether it fits several files, and whether its number has more zeros than was written."""

    path: str
    reason: str
    root: int
    completed: bool = False
    ambiguous: bool = False
    padded: bool = False


@dataclass
class Root:
    """A folder of pictures; each folder below it is listed once instead of one `stat` per file."""

    root: Path
    index: int
    _folders: dict[str, dict[str, str]] = field(default_factory=dict)

    def exact(self, path: str) -> Location:
        """The file that a path names as it is written, but for spaces around it."""
        plain = path.removeprefix(f"{self.root.as_posix()}/")
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
        may be the last ones of the root itself. A number may lack zeros, as spreadsheets drop them.
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
        padded = not fitting
        if padded:
            fitting = self._with_zeros(parts, whole)
        if len(fitting) == 1 and not self._reason(fitting[0]):
            return Location(fitting[0], "", self.index, completed=True, padded=padded)
        if len(fitting) > 1:
            return Location(given, f"{len(fitting)} {AMBIGUOUS}: {', '.join(fitting[:2])}", self.index, ambiguous=True)
        return Location(given, MISSING, self.index)

    def _with_zeros(self, parts: Sequence[str], whole: bool) -> list[str]:
        """Pictures whose name is the number that is the last of `parts`, in a folder of the parts before it."""
        number = number_in(_stem(parts[-1]))
        if number is None:
            return []
        suffix = parts[-1][len(_stem(parts[-1])) :] if whole else ""
        folders = list(parts[:-1])
        fitting = []
        for path in self._by_number.get(number, ()):
            *above, name = _parts(path)
            if name.endswith(suffix) and above[len(above) - len(folders) :] == folders:
                fitting.append(path)
        return fitting

    def ending(self, given: str, exact: bool = False) -> str:
        """The only picture whose path, but for the suffix, is the end of the given one; "" if none is.

        exact: with its suffix, if one is given.
        """
        parts = _parts(given)
        suffix = parts[-1][len(_stem(parts[-1])) :] if exact else ""
        parts = [*parts[:-1], _stem(parts[-1])]
        near = self._by_name.get(parts[-1], ())
        for top in range(len(parts)):
            ends = parts[top:]
            fit = [p for p in near if [*(e := _parts(p))[-len(ends) : -1], _stem(e[-1])] == ends]
            fit = [p for p in fit if _parts(p)[-1].endswith(suffix)]
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

    @cached_property
    def _by_number(self) -> dict[int, list[str]]:
        """Pictures whose names are numbers, by them."""
        pictures: dict[int, list[str]] = defaultdict(list)
        for name, paths in self._by_name.items():
            if name.isdecimal() and (number := number_in(name)) is not None:
                pictures[number] += paths
        return pictures

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
                names[entry.name] = "" if entry.is_file() else NO_FILE
                if entry.is_symlink() and not Path(entry.path).resolve(strict=True).is_relative_to(resolved_root):
                    names[entry.name] = f"a link to outside the root {self.root}"
            except (OSError, RuntimeError):
                names[entry.name] = "a broken or circular link"
        return names

    @cached_property
    def _resolved(self) -> Path:
        return self.root.resolve()


@dataclass
class PicturesRoot(Root):
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


def is_ambiguous(reason: str) -> bool:
    """Whether a path cannot be used because it fits several files."""
    return f" {AMBIGUOUS}: " in reason


def _parts(path: str) -> list[str]:
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/")).casefold().split("/")


def _stem(name: str) -> str:
    """A name without the suffix of a picture."""
    return next((name[: -len(end)] for end in SUFFIXES if name.endswith(end)), name)
