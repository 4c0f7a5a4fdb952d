"""Files that are no pictures by their first bytes: known before anything is decoded."""

from __future__ import annotations

import io
from typing import Any, Final

from PIL import Image

from augpipe.data.quarantine import reason
from augpipe.data.sources._dicom import is_dicom
from augpipe.data.sources._listing import Bad, Listing, evenly
from augpipe.data.sources._pictures import FORMATS, UNREADABLE, Blob, quiet

SAMPLED: Final = 200  # files


def unreadable_heads(listing: Listing) -> tuple[Bad, ...]:
    """Of a sample of SAMPLED files, those that no decoder takes, with the reason that decoding would give.

    Pictures that a source holds as pixels are not looked at.
    """
    sample = evenly(len(listing), SAMPLED)
    bad = []
    with quiet():
        for row, blob in zip(sample, listing.fetch(sample) if len(listing) else (), strict=True):
            try:
                _open(blob)
            except UNREADABLE as error:
                label = listing.classes[listing.labels[row]]
                bad.append(Bad(listing.ids[row], reason(error), label))
    return tuple(bad)


def _open(blob: Blob) -> None:
    """Open a file as a picture, without decoding it; raises one of UNREADABLE."""
    if isinstance(blob, bytes):
        _open_stream(io.BytesIO(blob))
    elif hasattr(blob, "open") and not isinstance(blob, Image.Image):
        with blob.open("rb") as stream:
            _open_stream(stream)


def _open_stream(stream: Any) -> None:
    if not is_dicom(stream):
        with Image.open(stream, formats=FORMATS):
            pass
