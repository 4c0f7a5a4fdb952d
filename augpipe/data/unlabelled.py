"""Pictures without labels, for predictions: of files, folders and sources; without importing torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from augpipe.core.errors import UserError, choices
from augpipe.data import sources
from augpipe.data.sources import Bad, Source, suggest
from augpipe.data.sources._dicom import SUFFIXES as DICOM
from augpipe.data.sources._dicom_files import is_dicom_file
from augpipe.data.sources._files import walk
from augpipe.data.sources._formats import SUFFIXES, begins_as_picture
from augpipe.data.sources._listing import Fetch


@dataclass(frozen=True)
class Pictures:
    """Pictures without labels. fetch: ascending rows → a blob per row. bad: files known to be unusable."""

    ids: Sequence[str]
    fetch: Fetch
    bad: Sequence[Bad] = ()

    def below(self, path: Path) -> Pictures:
        """The same with a path in front of all ids."""
        bad = [replace(one, id=f"{path}/{one.id}") for one in self.bad]
        return replace(self, ids=[f"{path}/{name}" for name in self.ids], bad=bad)


def inputs_of(paths: Sequence[Path]) -> list[Pictures]:
    """The pictures of several paths. Ids that two of them share, as two archives may, get their paths in front.

    UserError if a picture is given twice.
    """
    inputs = [pictures_of(path) for path in paths]
    if _repeated(inputs):
        inputs = [
            one if not one.ids or one.ids[0].startswith(str(path)) else one.below(path)
            for path, one in zip(paths, inputs, strict=True)
        ]
    if twice := _repeated(inputs):
        raise UserError(f"the picture {twice} is given twice; leave it out of one of {choices(paths)}")
    return inputs


def _repeated(inputs: Sequence[Pictures]) -> str:
    """An id that is there twice; "" if none is."""
    seen: set[str] = set()
    for one in inputs:
        if both := seen.intersection(one.ids):
            return min(both)
        seen.update(one.ids)
    return ""


def pictures_of(path: Path) -> Pictures:
    """Picture and DICOM files: one, or all below a folder, whatever the folders are called; or another source's
    pictures.

    A folder without other pictures may have DICOM files. Tables, arrays and archives need no labels; other sources
    (Parquet, shards) are read as `run` reads them. UserError if there is no picture.
    """
    if path.is_dir():
        files = walk(path, (*SUFFIXES, *DICOM))
        if not files.paths:
            return _of_folder(path)
        names = files.paths
        return Pictures(
            [f"{path}/{name}" for name in names], lambda rows: (path / names[row] for row in rows), files.bad
        )
    if not path.is_file():
        raise UserError(f"no picture or folder {str(path)!r}")
    if path.suffix.lower() in SUFFIXES or begins_as_picture(path) or is_dicom_file(path):
        return Pictures([str(path)], lambda rows: (path for _ in rows))
    listed = sources.pictures(TypeAdapter(Source).validate_python(suggest(path)))
    return Pictures(listed.ids, listed.fetch, listed.bad)


def _of_folder(path: Path) -> Pictures:
    """The pictures of a folder of shards or of Parquet files."""
    try:
        listed = sources.pictures(TypeAdapter(Source).validate_python(suggest(path)))
    except UserError:
        listed = None
    if listed is None or not listed.ids:
        raise UserError(f"no picture below {path}; supported are {', '.join((*SUFFIXES, *DICOM))}")
    return Pictures(listed.ids, listed.fetch, listed.bad)
