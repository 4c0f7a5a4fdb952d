"""Files that are no pictures by their first bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pictures import noise
from PIL import Image

from augpipe.data.heads import unreadable_heads
from augpipe.data.sources._listing import Listing


def test_files_and_bytes_that_no_decoder_takes_are_named(tmp_path: Path) -> None:
    """Nothing is decoded: the picture that is cut after its header passes; pixels of a source are not looked at."""
    stream = io.BytesIO()
    Image.fromarray(noise(1)).save(stream, "PNG")
    for name, content in {"good.png": stream.getvalue(), "text.png": b"no picture"}.items():
        (tmp_path / name).write_bytes(content)
    blobs = {
        "bytes": stream.getvalue(),
        "cut": stream.getvalue()[:60],
        "words": b"no picture",
        "file": tmp_path / "good.png",
        "text": tmp_path / "text.png",
        "gone": tmp_path / "gone.png",
        "picture": Image.fromarray(noise(2)),
        "pixels": noise(3).astype(np.uint16),
    }
    rows, labels = list(blobs.values()), np.arange(len(blobs)) % 2
    listing = Listing(list(blobs), labels, ("a", "b"), lambda wanted: (rows[row] for row in wanted))
    refused = [(one.id, one.label, one.reason) for one in unreadable_heads(listing)]
    assert refused == [
        ("words", "a", "not a picture of a supported format"),
        ("text", "a", "not a picture of a supported format"),
        ("gone", "b", "No such file or directory"),
    ]
    assert unreadable_heads(Listing([], labels[:0], ("a",), lambda wanted: iter(()))) == ()
