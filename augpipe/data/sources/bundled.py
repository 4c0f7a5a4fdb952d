"""Real image sets that ship with a library augpipe depends on: no download, no folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from augpipe.data.sources._listing import Listing, Rows
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._source import SourceConfig


class Config(SourceConfig):
    """Options of the bundled set."""

    kind: Literal["bundled"]
    """A real image set that ships with scikit-learn: no download."""

    name: Literal["digits"] = "digits"
    """`digits`: 1,797 scans of handwritten digits, 8x8 grey, ten classes (UCI, 1998)."""


def listing(config: Config) -> Listing:
    """List the whole set; its 17 grey levels are scaled to 0..255."""
    from sklearn.datasets import load_digits  # 50 MB: imported only if used

    bunch = load_digits()
    grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)

    def fetch(rows: Rows) -> Iterator[Blob]:
        yield from grey[rows]

    return Listing(
        ids=[f"digits/{row:04d}" for row in range(len(grey))],
        labels=bunch.target.astype(np.int64),
        classes=tuple(str(name) for name in bunch.target_names),
        fetch=fetch,
    )
