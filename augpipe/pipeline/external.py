"""Images of generators that read them from a source: listed and checked alike for a run and for an inspection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from augpipe.core.schema import KindConfig
from augpipe.data.external_listing import external_listing, naming, other_listing
from augpipe.data.heads import unreadable_heads
from augpipe.data.quarantine import check_any, check_bad
from augpipe.pipeline.experiment import Outline

if TYPE_CHECKING:
    from augpipe.data.sources import Listing


def list_external(outline: Outline, classes: Sequence[str]) -> dict[str, Listing]:
    """The images of each generator that reads them from a source; classes: of the experiment."""
    sources = {name: getattr(generator, "source", None) for name, generator in sorted(outline.generators.items())}
    return {
        name: external_listing(name, source, classes)
        for name, source in sources.items()
        if isinstance(source, KindConfig)
    }


def list_starts(outline: Outline) -> dict[str, Listing]:
    """The images of the other set on which each generator with `start` is trained first."""
    starts = {name: getattr(generator, "start", None) for name, generator in sorted(outline.generators.items())}
    return {name: other_listing(name, start.source) for name, start in starts.items() if start and start.source}


def check_external(outline: Outline, listing: Listing) -> None:
    """UserError for the first mistake that labels and first bytes of images made elsewhere, or of other sets, show.

    listing: of the experiment's source.
    """
    others = {f"{name}.start": images for name, images in list_starts(outline).items()}
    for name, images in {**list_external(outline, listing.classes), **others}.items():
        with naming(name):
            check_any(images)
            check_bad((*images.bad, *unreadable_heads(images)), len(images) + len(images.bad), outline.policy)
