"""Paths of a table against its roots:
checked, and completed where the table names files without folder, suffix or case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.sources._path_forms import paths_of_address
from augpipe.data.sources._path_roots import MISSING, OUTSIDE, Location, PicturesRoot, Root

LOOKED_AT: Final = 20  # paths for which a file is sought that may be meant


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


class ArchiveRoot(NamedTuple):
    """A root inside an archive: its pictures are listed, not files. pictures: paths with `/` relative to `root`."""

    root: Path
    pictures: Sequence[str]


class Paths:
    """Check paths of a table against one root or several; a file must be below one of them only."""

    def __init__(self, roots: Sequence[Path | ArchiveRoot]) -> None:
        self._roots = [
            PicturesRoot(root.root, index, pictures=root.pictures)
            if isinstance(root, ArchiveRoot)
            else Root(root, index)
            for index, root in enumerate(roots)
        ]
        self._completed: list[tuple[str, str]] = []
        self._n_padded = 0

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
                self._n_padded += one.padded
        self._check_addresses(paths, relative, roots, reasons)
        return relative, roots

    def _check_addresses(
        self,
        paths: NDArray[np.object_],
        relative: NDArray[np.object_],
        roots: NDArray[np.int64],
        reasons: NDArray[np.object_],
    ) -> None:
        """Reject addresses (N,) that fit one file: their ends say less than paths do, and each may mean another."""
        fitting: dict[tuple[int, str], dict[str, list[int]]] = {}
        for row, path in enumerate(paths):
            if not reasons[row] and paths_of_address(path):
                fitting.setdefault((roots[row], relative[row]), {}).setdefault(path, []).append(row)
        unclear: set[str] = set()
        for (_, file), written in fitting.items():
            for rows in written.values() if len(written) > 1 else ():
                reasons[rows] = f"{len(written)} addresses fit the file {file}"
            unclear.update(written if len(written) > 1 else ())
        self._completed = [one for one in self._completed if one[0] not in unclear]

    def notes(self) -> tuple[str, ...]:
        """How many paths were completed, with an example."""
        if not self._completed:
            return ()
        written, completed = self._completed[0]
        zeros = f"; {several(self._n_padded, 'number')} without the zeros of the file's name" if self._n_padded else ""
        return (f"{several(len(self._completed), 'path')} of the table completed: {written} is {completed}{zeros}",)

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
        if len(completed) == 1 and not completed[0].reason:
            return completed
        # A path that fits several files below one root must not be another root's only one.
        if ambiguous := [one for one in completed if one.ambiguous]:
            return ambiguous[:1]
        if usable := [one for one in completed if not one.reason]:
            return usable
        if by_address := self._of_address(path):
            return by_address
        # A path that is absolute is outside of all roots but one.
        inside = [one for one in completed if not one.reason.startswith(OUTSIDE)] or completed
        return sorted(inside, key=lambda one: one.reason == MISSING)[:1]

    def _of_address(self, path: str) -> list[Location]:
        """The files that an address such as `s3://bucket/1.png` fits by its end; none if it is no address."""
        for form in paths_of_address(path):
            exact = [one for root in self._roots if not (one := root.exact(form)).reason]
            ends = [(root.ending(form, exact=True), root.index) for root in self._roots]
            if fitting := exact or [Location(end, "", root) for end, root in ends if end]:
                return [one._replace(completed=True) for one in fitting]
        return []
