"""A folder of DICOM files in class folders, grouped by patient."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from augpipe.core.errors import UserError, several
from augpipe.core.schema import KindConfig
from augpipe.data.sources._dicom import is_dicom, pydicom
from augpipe.data.sources._files import walk
from augpipe.data.sources._layout import Template, arrange
from augpipe.data.sources._listing import Bad, Classes, Listing, WholePath
from augpipe.data.sources._pictures import SUFFIXES as PICTURES
from augpipe.data.sources._pictures import UNREADABLE
from augpipe.data.sources.folder import opening, require_folder

SUFFIXES: Final = (".dcm", ".dicom")
SAMPLED: Final = 200  # files of a folder that `suggest` checks for DICOM suffixes
# Suffixes of files that are not images.
OTHERS: Final = (".txt", ".csv", ".json", ".xml", ".md", ".html", ".pdf", ".xlsx", ".log")


class Config(KindConfig):
    """Options of a folder of DICOM files."""

    kind: Literal["dicom"]
    """A folder of DICOM files in class folders, grouped by patient."""

    path: WholePath
    """The folder."""

    classes: Classes = None
    """Use only these classes, in this order. null: all, sorted."""

    layout: Template | None = None
    """Where class, group and split are in a picture's path, such as `{label}/{group}/*`. null: the first folder is the
    class, or the split if the first folders are called train, val and test."""

    group: str = "PatientID"
    """Header field whose value groups images; images of a group are in only one of train, val and test. Not used if
    the layout has a {group}."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a folder whose first SAMPLED files are mostly DICOM by name; None for any other path."""
    if not path.is_dir():
        return None
    files = list(islice(_names(path), SAMPLED))
    n_dicom = sum(name.lower().endswith(SUFFIXES) for name in files)
    n_pictures = sum(name.lower().endswith(PICTURES) for name in files)
    return {"kind": "dicom", "path": str(path)} if n_dicom > n_pictures else None


def _names(path: Path) -> Iterator[str]:
    """File names, in an order independent of the file system."""
    for _, folders, files in os.walk(path):
        folders.sort()
        yield from sorted(files)


def place(config: Config) -> Path:
    """The folder, which must never be written to."""
    return config.path


def listing(config: Config) -> Listing:
    """List every DICOM file of every class, with any file name, grouped by patient."""
    library = pydicom()
    if config.group and library.datadict.tag_for_keyword(config.group) is None:
        raise UserError(
            f"unknown DICOM header field {config.group!r} in source.group; example: PatientID"
        )
    require_folder(config.path)
    files = walk(config.path, None)
    named = [path for path in files.paths if path.lower().endswith(SUFFIXES)]
    others = [p for p in files.paths if not p.lower().endswith((*SUFFIXES, *OTHERS))]
    known = set(named) | {path for path in others if _is_dicom_file(config.path / path)}
    paths = [path for path in files.paths if path in known]
    where = f"the folder {config.path}"
    images = arrange(
        paths, config.layout, config.classes, where, opening(config.path), files.folders
    )
    ignored = dict(files.ignored)
    bad = [Bad(p, "a picture, but not a DICOM file") for p in files.paths
           if p not in known and p.lower().endswith(PICTURES)]  # fmt: skip
    if n_other := len(files.paths) - len(paths) - len(bad):
        ignored["no DICOM"] = n_other
    images = replace(
        images, bad=(*files.bad, *bad, *images.bad), lost=tuple(files.lost), ignored=ignored
    )
    return images if images.groups is not None else _with_groups(images, config, library)


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return is_dicom(stream)
    except OSError:
        return True  # reading it later reports the reason


def _with_groups(images: Listing, config: Config, library: Any) -> Listing:
    """Group images by a header field; each file without it is its own group, which is noted."""
    groups, n_without = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in images.ids:
            try:
                header = library.dcmread(
                    config.path / path, stop_before_pixels=True, specific_tags=[config.group],
                    force=_is_dicom_file(config.path / path),
                )  # fmt: skip
                value = str(header.get(config.group) or "")
            except (*UNREADABLE, library.errors.InvalidDicomError):
                value = ""  # reading it later reports the reason
            n_without += not value
            groups.append(value or path)
    notes = images.notes
    if n_without:
        notes = (
            *notes,
            f"{several(n_without, 'file')} without {config.group}, each its own group",
        )
    return replace(images, groups=np.array(groups, object), notes=notes)
