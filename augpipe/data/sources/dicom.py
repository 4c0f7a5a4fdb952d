"""A folder of DICOM files in class folders; a patient's images stand on one side of a split."""

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
LOOKED_AT: Final = 200  # files of a folder that say whether it holds DICOM
# Files beside the images that are none.
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
    """Header field whose value groups images; images of a group are on one side of the split. Not used if the layout has
    a {group}."""


def suggest(path: Path) -> dict[str, Any] | None:
    """The config for a folder whose first files are mostly DICOM by their names; None for any other."""
    if not path.is_dir():
        return None
    files = list(islice(_names(path), LOOKED_AT))
    named = sum(name.lower().endswith(SUFFIXES) for name in files)
    pictures = sum(name.lower().endswith(PICTURES) for name in files)
    return {"kind": "dicom", "path": str(path)} if named > pictures else None


def _names(path: Path) -> Iterator[str]:
    """File names, in an order that does not hang on the file system."""
    for _, folders, files in os.walk(path):
        folders.sort()
        yield from sorted(files)


def place(config: Config) -> Path:
    """Where nothing is ever written."""
    return config.path


def listing(config: Config) -> Listing:
    """Every DICOM file of every class, whatever its name, grouped by patient."""
    library = pydicom()
    if config.group and library.datadict.tag_for_keyword(config.group) is None:
        raise UserError(
            f"unknown field {config.group!r} of a DICOM header in source.group; one is PatientID"
        )
    require_folder(config.path)
    found = walk(config.path, None)
    named = [path for path in found.paths if path.lower().endswith(SUFFIXES)]
    others = [p for p in found.paths if not p.lower().endswith((*SUFFIXES, *OTHERS))]
    known = set(named) | {path for path in others if _begins_so(config.path / path)}
    paths = [path for path in found.paths if path in known]
    where = f"the folder {config.path}"
    made = arrange(paths, config.layout, config.classes, where, opening(config.path), found.folders)
    ignored = dict(found.ignored)
    bad = [Bad(p, "a picture that is no DICOM file") for p in found.paths
           if p not in known and p.lower().endswith(PICTURES)]  # fmt: skip
    if left := len(found.paths) - len(paths) - len(bad):
        ignored["no DICOM"] = left
    made = replace(made, bad=(*found.bad, *bad, *made.bad), lost=tuple(found.lost), ignored=ignored)
    return made if made.groups is not None else _grouped(made, config, library)


def _begins_so(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return is_dicom(stream)
    except OSError:
        return True  # it is named with its reason when it is read


def _grouped(made: Listing, config: Config, library: Any) -> Listing:
    """Groups by a field of the header; a file without it is a group of its own, and said."""
    groups, without = [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in made.ids:
            try:
                head = library.dcmread(
                    config.path / path, stop_before_pixels=True, specific_tags=[config.group]
                )
                value = str(head.get(config.group) or "")
            except (*UNREADABLE, library.errors.InvalidDicomError):
                value = ""  # it is named with its reason when it is read
            without += not value
            groups.append(value or path)
    notes = made.notes
    if without:
        notes = (
            *notes,
            f"{several(without, 'file')} without {config.group}, each a group of its own",
        )
    return replace(made, groups=np.array(groups, object), notes=notes)
