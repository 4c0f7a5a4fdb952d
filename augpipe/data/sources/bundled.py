"""Real image sets that ship with a library augpipe depends on: no download, no folder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
    table = _digits()
    grey = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)

    def fetch(rows: Rows) -> Iterator[Blob]:
        yield from grey[rows]

    return Listing(
        ids=[f"digits/{row:04d}" for row in range(len(grey))],
        labels=table[:, -1].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        fetch=fetch,
    )


def _digits() -> NDArray[np.float64]:
    """A row an image: 64 grey levels, 0 to 16, and the label, from scikit-learn's file; importing it takes .6 s."""
    package = find_spec("sklearn")
    folders = (package and package.submodule_search_locations) or ["."]
    return np.loadtxt(Path(folders[0]) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
