"""A folder of DICOM files in class folders, grouped by patient."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from augpipe.core.errors import UserError
from augpipe.data.sources._dicom import SUFFIXES, pydicom
from augpipe.data.sources._dicom_files import PATIENT, by_header, is_dicom_file
from augpipe.data.sources._files import walk
from augpipe.data.sources._formats import SUFFIXES as PICTURES
from augpipe.data.sources._listing import Bad, Listing, Texts, without_labels
from augpipe.data.sources.folder import ClassFolders, list_files, opening, require_folder

SAMPLED: Final = 200  # files of a folder that `suggest` looks at
# Suffixes of files that are not images.
OTHERS: Final = (".txt", ".csv", ".json", ".xml", ".md", ".html", ".pdf", ".xlsx", ".log")


class Config(ClassFolders):
    """Options of a folder of DICOM files."""

    kind: Literal["dicom"]
    """A folder of DICOM files in class folders, grouped by patient."""

    exclude: Texts = ()
    """Leave out files whose path matches one of these patterns, such as `*/localizer/*`; `*` also matches `/`."""

    group: str = PATIENT
    """Header field whose value groups images; images of a group are in only one of train, val and test. Not used if
    the layout has a {group}."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a folder whose first SAMPLED files are mostly DICOM, by name or by content;
    None for any other path.
    """
    if not path.is_dir():
        return None
    files = list(islice(_files(path), SAMPLED))
    n_dicom = sum(_may_be_dicom(file) for file in files)
    n_pictures = sum(file.name.lower().endswith(PICTURES) for file in files)
    return {"kind": "dicom", "path": str(path)} if n_dicom > n_pictures else None


def _files(path: Path) -> Iterator[Path]:
    """Files, in an order independent of the file system."""
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _may_be_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its suffix or, with no suffix of another kind, by its first bytes."""
    name = path.name.lower()
    if name.endswith(SUFFIXES):
        return True
    return not name.endswith((*PICTURES, *OTHERS)) and path.is_file() and is_dicom_file(path)


def places(config: Config) -> tuple[Path, ...]:
    """The folder, which must never be written to."""
    return (config.path,)


def check(config: Config) -> None:
    """UserError if the folder does not exist."""
    require_folder(config.path)


def listing(config: Config) -> Listing:
    """List every DICOM file of every class, with any file name, grouped by patient."""
    library = pydicom()
    if config.group and library.datadict.tag_for_keyword(config.group) is None:
        raise UserError(f"unknown DICOM header field {config.group!r} in source.group; example: PatientID")
    require_folder(config.path)
    files = walk(config.path, None)
    named = [path for path in files.paths if path.lower().endswith(SUFFIXES)]
    others = [p for p in files.paths if not p.lower().endswith((*SUFFIXES, *OTHERS))]
    known = set(named) | {path for path in others if is_dicom_file(config.path / path)}
    paths = [path for path in files.paths if path in known]
    images = list_files(config, files, paths)
    ignored = dict(files.ignored)
    bad = [
        Bad(p, "a picture, but not a DICOM file")
        for p in files.paths
        if p not in known and p.lower().endswith(PICTURES)
    ]
    if n_other := len(files.paths) - len(paths) - len(bad):
        ignored["no DICOM"] = n_other
    images = replace(images, bad=(*images.bad, *bad), ignored=ignored)
    return images if images.groups is not None else by_header(images, config.group)


def pictures(config: Config) -> Listing:
    """Every DICOM file below the folder, for predictions, with any file name."""
    require_folder(config.path)
    files = walk(config.path, None)
    paths = [
        path
        for path in files.paths
        if path.lower().endswith(SUFFIXES) or (not path.lower().endswith(OTHERS) and is_dicom_file(config.path / path))
    ]
    return without_labels(paths, opening(config.path)(paths), tuple(files.bad))
