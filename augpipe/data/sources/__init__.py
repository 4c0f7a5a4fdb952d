"""Where images come from: one file a kind, each with a `Config` and `listing(config) -> Listing`.

A kind may also have `suggest(path)`, the config for something a user points at, and `place(config)`, the
folder in which nothing is ever written.
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
    """The kinds of source there are."""
    return kinds_in(__name__)


def listing(source: KindConfig) -> Listing:
    """What `source` holds, before any picture is read; UserError where it cannot be found."""
    found: Listing = load_kind(__name__, source.kind, "source").listing(source)
    return found


def place(source: KindConfig) -> Path | None:
    """The folder in which nothing is ever written; None where there is none."""
    of = getattr(load_kind(__name__, source.kind, "source"), "place", None)
    found: Path | None = of(source) if of else None
    return found


def suggest(path: Path) -> dict[str, Any]:
    """The config for a path that a user points at, by the first kind that knows it; UserError where none does.

    Kinds are asked in the order of their names, `folder` and what else takes any folder after the rest.
    """
    found = []
    for kind in sources():
        of = getattr(load_kind(__name__, kind, "source"), "suggest", None)
        told = of(path) if of else None
        if told:
            found.append(told)
    if not found:
        raise UserError(
            f"{path} is no source that is known by its name; have a folder, .zip, .tar, .tar.gz, .npz, .csv, "
            f".parquet; the kinds {choices(sources())} go into a config"
        )
    chosen: dict[str, Any] = found[0]
    return chosen
