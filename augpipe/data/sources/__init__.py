"""Image sources: one file per kind, each with a `Config` and `listing(config) -> Listing`.

A kind may also define `suggest(path)`, which returns the config for a path given by the user, and `place(config)`,
which returns a folder that must never be written to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import SerializeAsAny

from augpipe.core.errors import UserError, choices
from augpipe.core.registry import kinds_in, load_kind
from augpipe.core.schema import KindConfig, by_kind
from augpipe.data.sources._listing import Bad, Listing, alike, only
from augpipe.data.sources._pictures import Blob

Source = Annotated[SerializeAsAny[KindConfig], by_kind(__name__, "source")]
__all__ = [
    "Bad",
    "Blob",
    "Listing",
    "Source",
    "alike",
    "listing",
    "only",
    "place",
    "sources",
    "suggest",
]


def sources() -> tuple[str, ...]:
    """Names of all source kinds."""
    return kinds_in(__name__)


def listing(source: KindConfig) -> Listing:
    """List the images of `source` without reading any; UserError if it cannot be found."""
    images: Listing = load_kind(__name__, source.kind, "source").listing(source)
    return images


def place(source: KindConfig) -> Path | None:
    """The source's folder, which must never be written to; None if it has none."""
    function = getattr(load_kind(__name__, source.kind, "source"), "place", None)
    folder: Path | None = function(source) if function else None
    return folder


def suggest(path: Path) -> dict[str, Any]:
    """Config for a path given by the user, from the first kind that recognises it; UserError if none does.

    Kinds are tried in alphabetical order.
    """
    configs = []
    for kind in sources():
        function = getattr(load_kind(__name__, kind, "source"), "suggest", None)
        config = function(path) if function else None
        if config:
            configs.append(config)
    if not configs:
        raise UserError(
            f"unknown kind of source: {path}; use a folder, .zip, .tar, .tar.gz, .npz, .csv, .parquet; "
            f"set other kinds ({choices(sources())}) in a config"
        )
    chosen: dict[str, Any] = configs[0]
    return chosen
