"""Groups of a table's pictures that another table beside it has, as ISIC publishes lesions."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError
from augpipe.data.sources._listing import evenly
from augpipe.data.sources._settings import setting, unquoted
from augpipe.data.sources._split_columns import splits_option
from augpipe.data.sources._table_file import is_table
from augpipe.data.sources._table_groups import groups_of, name_of, split_in

MOST: Final = 10  # tables that are looked into
LARGEST: Final = 2**26  # bytes of such a table
SAMPLED: Final = 200  # pictures that are looked for


def groups_beside(path: Path, paths: NDArray[np.object_], join: Sequence[Path]) -> dict[str, Path]:
    """Columns called as groups are → the table beside `path` that has them for most of its pictures.

    paths: of the pictures, as they are written (N,). join: tables whose columns are the table's own.
    """
    wanted = _sampled(paths)
    return {name: other for other in _tables_beside(path, join) if wanted for name in groups_of(other, wanted)}


def split_beside_note(path: Path, paths: NDArray[np.object_], join: Sequence[Path]) -> tuple[str, ...]:
    """A note of a table beside `path` that has a split of most of its pictures; see `groups_beside`."""
    wanted = _sampled(paths)
    for other in _tables_beside(path, join) if wanted else ():
        if column := split_in(other, wanted):
            name, meanings = column
            tables = str(other) if not join else f"[{', '.join(map(str, (*join, other)))}]"
            sets = [f"source.join={tables}", unquoted("source.columns.split", name)]
            options = " ".join(f"--set {shlex.quote(one)}" for one in sets)
            return (
                f"the table {other} beside may have the split of these pictures in {name!r}, and is not used: to use "
                f"it, {options}{f' {splits_option(meanings)}' if meanings else ''}",
            )
    return ()


def _sampled(paths: NDArray[np.object_]) -> set[str]:
    """Names of some of the pictures."""
    return {name_of(paths[row]) for row in evenly(len(paths), SAMPLED)} if len(paths) else set()


def _tables_beside(path: Path, join: Sequence[Path]) -> list[Path]:
    used = {one.resolve() for one in (path, *join)}
    files = [o for o in sorted(path.parent.iterdir()) if o.is_file() and o.resolve() not in used]
    return [one for one in files if is_table(one) and one.stat().st_size <= LARGEST][:MOST]


def check_groups_beside(beside: Mapping[str, Path], ignored: Collection[str], join: Sequence[Path]) -> None:
    """UserError for groups in another table that the user neither joined nor declared unused."""
    for name, other in beside.items():
        if name not in ignored:
            tables = str(other) if not join else f"[{', '.join(map(str, (*join, other)))}]"
            sets = (f"source.join={tables}", unquoted("source.columns.group", name))
            options = " ".join(f"--set {shlex.quote(one)}" for one in sets)
            raise UserError(
                f"the table {other} has the column {name!r} of these pictures, which looks like groups, such as "
                f"patients: images of one group could be on both sides of a split; join it with {options}, or set "
                f"{setting('source.ignore', (name,))} if it is something else"
            )
