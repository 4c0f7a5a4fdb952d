"""A table as it was read from a file, or from several."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Content(NamedTuple):
    """A table, the number of each row (1 is the first below the header), notes on how the file was read, and the folder
    of each row's table if several are read as one (else None)."""

    table: Any  # pyarrow.Table
    numbers: NDArray[Any]
    notes: tuple[str, ...]
    folders: NDArray[np.object_] | None = None


def without_repeated(content: Content) -> Content:
    """Leave out columns with the name and the values of an earlier one, with a note."""
    table, names = content.table, content.table.column_names
    again = [
        at
        for at, name in enumerate(names)
        if (first := names.index(name)) < at and table.column(at).equals(table.column(first))
    ]
    if not again:
        return content
    notes = (f"the column {names[at]!r} of the table is there twice with the same values" for at in again)
    table = table.select([at for at in range(len(names)) if at not in again])
    return content._replace(table=table, notes=(*content.notes, *notes))
