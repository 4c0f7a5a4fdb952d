"""A table or file of labels beside folders of pictures: the folders may be parts of a download, and not classes."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError, choices

TABLES: Final = (".csv", ".tsv", ".parquet")
MOST: Final = 10  # tables that are looked into
LOOKED_AT: Final = 200  # rows
LARGEST: Final = 2**28  # bytes
MOSTLY: Final = 0.9  # of a table's pictures lie in the folder that a column stands for
# Folders that are named for storage: `part_1`, `00000`, `images`.
STORAGE: Final = re.compile(
    r".*(part|shard|batch|chunk|images?|img|data|folder)[ _-]*\d*|\d{2,}", re.IGNORECASE
)


def check_beside(root: Path, top: str, ids: Sequence[str], names: Sequence[str]) -> None:
    """UserError if a file beside the folders has labels of the pictures that differ from the names of their folders.

    ids: paths of the pictures below `root`/`top`; names: the class of each by its folder. An explicit `layout` skips this.
    """
    of_picture = {f"{top}{path}": name for path, name in zip(ids, names, strict=True)}
    folders = choices(sorted(set(names))[:3])
    advice = f"set source.layout='{{label}}/**/*' if the folders ({folders}, ...) are the classes"
    parts = top.split("/")[:-1]
    above = [root.joinpath(*parts[:n]) for n in range(len(parts) + 1)]
    inside = [folder for folder in sorted(above[-1].iterdir()) if folder.is_dir()]
    files = [path for folder in (*above, *inside[:MOST]) for path in _files(folder)]
    for path in [path for path in files if path.suffix.lower() in TABLES][:MOST]:
        columns = _columns(root, path, of_picture)
        if columns is not None:
            column, label = columns
            options = [f"source.columns.path={column}"]
            options += [f"source.columns.label={label}"] if label else []
            sets = " ".join(f"--set {shlex.quote(option)}" for option in options)
            raise UserError(
                f"the table {path} names the pictures in its column {column!r}, and its labels differ from the names of the "
                f"folders: use the table (augpipe run {shlex.quote(str(path))} {sets}), or {advice}"
            )
    for path in files:
        if path.name == "dataset.json" and _has_labels(path):
            raise UserError(
                f"{path} has labels of the pictures: write them as a table with the columns path and label, or {advice}"
            )


def _files(folder: Path) -> list[Path]:
    """Files of a folder that are not too large to be looked into."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in files if path.stat().st_size <= LARGEST]


def _columns(root: Path, path: Path, of_picture: dict[str, str]) -> tuple[str, str] | None:
    """A column that names pictures, and one with labels or ""; None if a column agrees with the folders, or none is a label."""
    from augpipe.data.sources._paths import Paths
    from augpipe.data.sources._table import proposal, read_columns

    columns = read_columns(path, LOOKED_AT)
    settings = proposal(columns, path.parent)
    if "path" not in settings:
        return None
    paths, prefix = Paths(path.parent), path.parent.relative_to(root)
    pictures = [
        (prefix / paths.one(str(value))[0]).as_posix() for value in columns[settings["path"]]
    ]
    rows = [row for row, picture in enumerate(pictures) if picture in of_picture]
    folders = [of_picture[pictures[row]] for row in rows]
    for name, column in columns.items():
        if name != settings["path"] and _agree([str(column[row]).strip() for row in rows], folders):
            return None
    storage = all(STORAGE.fullmatch(folder) for folder in set(folders))
    if not rows or not ("label" in settings or storage):
        return None
    return settings["path"], settings.get("label", "")


def _agree(values: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether values and folders stand for each other, one to one, but for a few rows."""
    pairs = Counter(zip(values, folders, strict=True))
    most = {
        value: max((n, f) for (v, f), n in pairs.items() if v == value)[1] for value in set(values)
    }
    right = sum(most[value] == folder for value, folder in zip(values, folders, strict=True))
    return len(set(most.values())) == len(most) == len(set(folders)) and right >= MOSTLY * len(
        values
    )


def _has_labels(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and bool(content.get("labels"))
