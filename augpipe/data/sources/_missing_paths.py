"""A table none of whose paths is a file below its roots: where files of these names are."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._path_roots import MISSING, NO_FILE, OUTSIDE, SUFFIXES, is_ambiguous
from augpipe.data.sources._settings import setting

MOST: Final = 20_000  # files around a table that are looked at
LOOKED_AT: Final = 20  # paths
MOSTLY: Final = 0.8  # of them have a file of the name


def check_some(
    paths: Iterable[str], reasons: Collection[str], table: Path, roots: Sequence[Path], hint: str = ""
) -> None:
    """UserError if no path (N,) of a table is a file below its roots, or each may be several.

    reasons: why each cannot be used, "" if it can; hint: of a path that ends as a file does, or "".
    """
    sample = list(islice((path.strip().replace("\\", "/") for path in paths if path.strip()), LOOKED_AT))
    nowhere = (why in (MISSING, NO_FILE) or why.startswith(OUTSIDE) or is_ambiguous(why) for why in reasons)
    if not sample or not all(nowhere):
        return
    where = choices(roots)
    for path, why in zip(paths, reasons, strict=True):
        if is_ambiguous(why):
            raise UserError(
                f"paths of the manifest {table} fit several files below {where}, such as {path!r} with {why}: set "
                "source.root to the folder that is meant, or a list of folders that have each file once"
            )
    raise UserError(
        f"no path of {several(len(reasons), 'row')} of the manifest {table} is a file below {where}, such as "
        f"{sample[0]!r}{_advice(sample, table, roots, hint)}"
    )


def _advice(sample: Sequence[str], table: Path, roots: Sequence[Path], hint: str) -> str:
    first = sample[0]
    if any(os.path.isdir(root / first) for root in roots):  # noqa: PTH112 (False for a text that is no path)
        return ": it is a folder; write a row for each picture in it"
    if Path(first).is_absolute() and all(map(os.path.isfile, sample)):
        folder = os.path.commonpath([Path(one).parent for one in sample])
        return f"; they are below {folder}: set {setting('source.root', folder)}"
    if hint:
        return f": {hint}"
    near = [path for path in islice(_files(_around(table)), MOST) if path.suffix.lower() in SUFFIXES]
    without_suffix = {_stem(path.as_posix()) for path in near}
    for path in near:
        if _stem(path.name) == _name(first):
            root = path.parents[_equal_ends(path.parts, first.split("/")) - 1]
            fitting = sum(_stem((root / one).as_posix()) in without_suffix for one in sample)
            if fitting >= MOSTLY * len(sample):
                return f"; files of these names are in {root}: set {setting('source.root', str(root))}"
    names = [_name(one) for one in sample]
    beginning = [next((path for path in near if _stem(path.name).startswith(name)), None) for name in names]
    if beginning[0] and sum(path is not None for path in beginning) >= MOSTLY * len(names):
        return f": the names of files begin so, such as {beginning[0]}; write their names into the table"
    return ": set source.root to the folder that the paths are relative to"


def _around(table: Path) -> Path:
    """The folder in which pictures are sought: the one around the table's, unless that holds more than a data set."""
    folder = table.resolve().parent
    outer = folder.parent
    return folder if outer in (Path.home(), Path(outer.anchor)) or outer.parent == Path(outer.anchor) else outer


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names))


def _name(path: str) -> str:
    return _stem(path.rpartition("/")[2])


def _stem(name: str) -> str:
    return next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), name).casefold()


def _equal_ends(path: Sequence[str], parts: Sequence[str]) -> int:
    """How many of the last parts of both are equal; the last one counts without its suffix."""
    n = 1
    while n < min(len(path), len(parts)) and path[-n - 1] == parts[-n - 1]:
        n += 1
    return n
