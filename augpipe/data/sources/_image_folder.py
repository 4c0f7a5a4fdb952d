"""Hugging Face's and Roboflow's image folders: a table of the pictures in each split's folder (`train/metadata.csv`,
`train/_classes.csv`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from augpipe.core.errors import UserError, choices, one_line
from augpipe.data.sources._content import Content
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._listing import SPLIT_NAMES

NAMES: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv")  # the last is Roboflow's
DEEPEST: Final = 3  # folders around the splits


def tables_of(root: Path) -> dict[str, list[Path]]:
    """The folders of splits directly below `root` → their tables; empty unless one of them has a table."""
    if not root.is_dir():
        return {}
    folders = sorted(f for f in root.iterdir() if f.name.lower() in SPLIT_NAMES and f.is_dir())
    tables = {f.name: [f / name for name in NAMES if (f / name).is_file()] for f in folders}
    return tables if any(tables.values()) else {}


def inner_folder(root: Path) -> Path:
    """The first folder that is not the only entry of the one around it, as archives and downloads add such."""
    for _ in range(DEEPEST):
        entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir() or entries[0].name.lower() in SPLIT_NAMES:
            break
        root = entries[0]
    return root


def has_picture_beside(table: Path) -> bool:
    """Whether pictures lie in the folder of a table itself, so that its folders are no classes."""
    with os.scandir(table.parent) as entries:
        return any(entry.name.lower().endswith(SUFFIXES) for entry in entries)


def read_folder(root: Path, read: Callable[[Path], Content]) -> Content:
    """The tables of all splits as one, each row with its folder and its number in its own table.

    UserError if a folder has several tables, if they differ in form, or if one cannot be read.
    """
    import pyarrow as pa

    by_folder = {folder: tables for folder, tables in tables_of(root).items() if tables}
    for folder, tables in by_folder.items():
        if len(tables) > 1:
            raise UserError(
                f"the folder {root / folder} has {choices(t.name for t in tables)}: only one of them can be its table"
            )
    paths = {folder: tables[0] for folder, tables in by_folder.items()}
    if len({path.name for path in paths.values()}) > 1:
        raise UserError(f"{choices(paths.values())} are of several forms: write all as one of them")
    contents = {folder: read(path) for folder, path in paths.items()}
    try:
        table = pa.concat_tables([content.table for content in contents.values()], promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(f"{choices(paths.values())} differ in the types of their columns: {one_line(error)}") from None
    numbers = [
        f"{number} of {folder}/{paths[folder].name}"
        for folder, content in contents.items()
        for number in content.numbers
    ]
    folders = [folder for folder, content in contents.items() for _ in content.numbers]
    notes = [f"{path.name} is read from {choices(paths)}, which are the splits" for path in list(paths.values())[:1]]
    notes += [f"{folder}: {note}" for folder, content in contents.items() for note in content.notes]
    without = [folder for folder in tables_of(root) if folder not in paths]
    notes += [f"{choices(without)} has no table, and its pictures are not used"] if without else []
    return contents[next(iter(contents))]._replace(
        table=table, numbers=np.array(numbers, object), notes=tuple(notes), folders=np.array(folders, object)
    )
