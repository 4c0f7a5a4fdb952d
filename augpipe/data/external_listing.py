"""The listing of images that were made elsewhere (`generators.NAME.source`), with the classes of the experiment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from augpipe.core.errors import UserError, choices
from augpipe.data import sources

if TYPE_CHECKING:
    from augpipe.core.schema import KindConfig
    from augpipe.data.sources import Listing


@contextmanager
def naming(generator: str) -> Iterator[None]:
    """Errors in the block name the generator's source: their words are those of errors in the experiment's."""
    try:
        yield
    except UserError as error:
        raise UserError(f"generators.{generator}.source: {error}") from None


def external_listing(generator: str, source: KindConfig, classes: Sequence[str]) -> Listing:
    """The images of a generator's source, with labels as of `classes` and ids that no image of the experiment has.

    classes: of the experiment; UserError if the source has others. Splits and attributes are ignored.
    """
    with naming(generator):
        listing = sources.listing(source)
        if listing.lost:
            raise UserError(f"cannot read {listing.lost[0]}")
        have = [name for label, name in enumerate(listing.classes) if (listing.labels == label).any()]
        if not have:
            raise UserError("it has no image")
        if more := [name for name in have if name not in classes]:
            raise UserError(
                f"it has classes that the experiment lacks, {choices(more)}; rename them to those of the experiment, "
                f"{choices(classes)}, or leave them out with source.classes"
            )
    place = {name: label for label, name in enumerate(classes)}
    labels = np.array([place[listing.classes[label]] for label in listing.labels], np.int64)
    return replace(_apart(listing, f"generators.{generator}/"), labels=labels, classes=tuple(classes))


def other_listing(generator: str, source: KindConfig) -> Listing:
    """The images of another set on which a generator starts, with its own classes and ids that no image of the
    experiment has. Splits and attributes are ignored.
    """
    with naming(f"{generator}.start"):
        listing = sources.listing(source)
        if listing.lost:
            raise UserError(f"cannot read {listing.lost[0]}")
        if not len(listing):
            raise UserError("it has no image")
    return _apart(listing, f"generators.{generator}.start/")


def _apart(listing: Listing, prefix: str) -> Listing:
    """Without what concerns a split, and with ids of its own."""
    return replace(
        listing,
        ids=[prefix + one for one in listing.ids],
        bad=tuple(replace(one, id=prefix + one.id) for one in listing.bad),
        splits=None,
        weights=None,
        attributes={},
    )
