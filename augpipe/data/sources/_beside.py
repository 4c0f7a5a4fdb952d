"""A table or file of labels beside folders of pictures: the folders may be parts of a download, and not classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from augpipe.core.errors import UserError, choices

TABLES: Final = (".csv", ".tsv", ".parquet")
MOST: Final = 10  # tables that are looked into
LOOKED_AT: Final = 200  # rows
LARGEST: Final = 2**28  # bytes
MOSTLY: Final = 0.9  # of a table's pictures lie in the folder that a column names


def check_beside(root: Path, ids: Sequence[str], names: Sequence[str]) -> None:
    """UserError if a file beside the folders has labels of the pictures that are not the names of their folders.

    ids: paths of the pictures below `root`; names: the class of each by its folder. An explicit `layout` skips this.
    """
    of_picture = dict(zip(ids, names, strict=True))
    folders = choices(sorted(set(names))[:3])
    advice = f"set source.layout='{{label}}/**/*' if the folders ({folders}, ...) are the classes"
    tables = [
        path
        for pattern in ("*", "*/*")
        for path in sorted(root.glob(pattern))
        if path.suffix.lower() in TABLES and path.is_file() and path.stat().st_size <= LARGEST
    ]
    for path in tables[:MOST]:
        found = _columns(root, path, of_picture)
        if found is not None:
            column, label = found
            options = f"--set source.columns.path={column}"
            options += f" --set source.columns.label={label}" if label else ""
            raise UserError(
                f"the table {path} names the pictures in its column {column!r}, and no column of it holds the names of their "
                f"folders: use the table (augpipe run {path} {options}), or {advice}"
            )
    shards = root / "dataset.json"
    if shards.is_file() and shards.stat().st_size <= LARGEST and _has_labels(shards):
        raise UserError(
            f"{shards} has labels of the pictures: write them as a table with the columns path and label, or {advice}"
        )


def _columns(root: Path, path: Path, of_picture: dict[str, str]) -> tuple[str, str] | None:
    """A column that names pictures, and one that looks like labels or ""; None if a column names their folders, or none."""
    from augpipe.data.sources._paths import Paths
    from augpipe.data.sources._table import proposal, read_columns

    columns = read_columns(path)
    settings = proposal(columns, path.parent)
    if "path" not in settings:
        return None
    paths, prefix = Paths(path.parent), path.parent.relative_to(root)
    values = columns[settings["path"]]
    rows = np.linspace(0, len(values) - 1, min(LOOKED_AT, len(values))).astype(int)
    found = [(prefix / paths.one(str(values[row]))[0]).as_posix() for row in rows]
    known = [
        (row, of_picture[path]) for row, path in zip(rows, found, strict=True) if path in of_picture
    ]
    for column in columns.values():
        if np.mean([str(column[row]).strip() == name for row, name in known] or [True]) > MOSTLY:
            return None
    return settings["path"], settings.get("label", "")


def _has_labels(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and bool(content.get("labels"))
