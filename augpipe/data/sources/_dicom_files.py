"""Which files are DICOM, and what their headers hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from augpipe.core.errors import several
from augpipe.data.sources._dicom import is_dicom, pydicom, read_header
from augpipe.data.sources._groups import plain_groups
from augpipe.data.sources._listing import Listing
from augpipe.data.sources._pictures import UNREADABLE

PATIENT: Final = "PatientID"


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes;
    True if it cannot be read, so that reading it later reports the reason.
    """
    try:
        with path.open("rb") as stream:
            return is_dicom(stream)
    except OSError:
        return True


def by_header(images: Listing, field: str) -> Listing:
    """Group the files of a listing by a field of their DICOM headers;
    each file without it is its own group, which is noted.
    """
    paths = [blob for blob in images.fetch(np.arange(len(images))) if isinstance(blob, Path)]
    groups = plain_groups(np.array(_values(paths, field), object))
    notes, n_without = images.notes, int((groups == "").sum())
    if n_without:
        note = f"{several(n_without, 'file')} without {field}, each its own group"
        notes = (*notes, note)
    groups = np.where(groups == "", np.array(images.ids, object), groups)
    return replace(images, groups=groups, notes=notes)


def _values(paths: Iterable[Path], field: str) -> list[str]:
    """A header field of each file as text; "" without it, and for other files."""
    library, values = pydicom(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            value = ""
            try:
                with path.open("rb") as stream:
                    header = read_header(library, stream, stop_before_pixels=True, specific_tags=[field])
                value = str(header.get(field) or "")
            except (*UNREADABLE, library.errors.InvalidDicomError):
                pass  # another format, or reading it later reports the reason
            values.append(value)
    return values
