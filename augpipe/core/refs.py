"""References to stored files and folders, by path and SHA-256, and whether what they name is stored and undamaged.

Importing this takes no torch and no pandas: keys of cached results are computed from references.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, FieldSerializationInfo, ValidationInfo, field_serializer, field_validator

from augpipe.core.integrity import intact, touch

NAME: Final = 20  # digits of the SHA-256 in the name of a stored file or folder
ROWS: Final = "rows.json"  # of an image set that is rows of another one


class Ref(BaseModel, frozen=True):
    """A file or folder and the SHA-256 of its content: tasks exchange nothing else.

    With a context `{"store": root}` the path is written relative to the store's root, and read back from there.
    """

    path: Path
    sha256: str

    @field_validator("path", mode="after")
    @classmethod
    def _below_the_store(cls, path: Path, info: ValidationInfo) -> Path:
        if not info.context:
            return path
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{path} is not relative to the store")
        resolved: Path = info.context["store"] / path
        return resolved

    @field_serializer("path")
    def _relative(self, path: Path, info: FieldSerializationInfo) -> str:
        store = (info.context or {}).get("store")  # Prefect serialises with a context too
        return str(path if store is None else path.relative_to(store))


class SplitRefs(BaseModel, frozen=True):
    """Refs of the three image sets of a split."""

    train: Ref
    val: Ref
    test: Ref


@dataclass(frozen=True)
class Rows:
    """Rows `start` to `stop` of the image set with this SHA-256."""

    images: str
    start: int
    stop: int

    def within(self, start: int, stop: int) -> Rows:
        """Rows `start` to `stop`, counted from the first of these."""
        return Rows(self.images, self.start + start, self.start + stop)


def rows_of(folder: Path) -> Rows | None:
    """The rows of another set that are this one's images; None if it holds its own."""
    try:
        return Rows(**json.loads((folder / ROWS).read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def pixels_of(folder: Path, rows: Rows | None) -> Path:
    """The folder that holds a set's pixels: its own, or that of the set whose rows it is."""
    return folder if rows is None else folder.with_name(rows.images[:NAME])


def is_stored(path: Path, sha256: str) -> bool:
    """Whether content is stored and undamaged, and for rows also the set that holds them;
    both are marked as used now.
    """
    if not (touch(path) and intact(path, sha256)):
        return False
    rows = rows_of(path)
    return rows is None or is_stored(pixels_of(path, rows), rows.images)
