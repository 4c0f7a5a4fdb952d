"""The listing of the second test set (`source.shift`), with the labels of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from augpipe.core.errors import UserError, choices
from augpipe.core.options import SHIFT
from augpipe.core.schema import KindConfig
from augpipe.data import sources
from augpipe.data.sources import Listing


@contextmanager
def naming_shift() -> Iterator[None]:
    """Errors in the block name the second test set: their words are those of errors in the source."""
    try:
        yield
    except UserError as error:
        raise UserError(f"source.{SHIFT}: {error}") from None


def shift_listing(source: KindConfig, classes: Sequence[str], min_images: int = 1) -> Listing | None:
    """The images of `source.shift`, with labels and ids as of the source; None if it has no second test set.

    classes: of the source, without those that min_images leaves out. UserError if the second set's are others.
    """
    shift: KindConfig | None = getattr(source, SHIFT, None)
    if shift is None:
        return None
    with naming_shift():
        listing = sources.listing(shift)
    if listing.lost:
        raise UserError(f"source.shift: cannot read {listing.lost[0]}")
    have = [name for label, name in enumerate(listing.classes) if (listing.labels == label).any()]
    missing, more = [n for n in classes if n not in have], [n for n in have if n not in classes]
    if missing or (more and min_images == 1):
        what = f"no image of {choices(missing)}" if missing else f"classes that the source lacks, {choices(more)}"
        raise UserError(
            f"source.shift has {what}; it needs the classes of the source, {choices(classes)}, under the same names"
        )
    common = sources.only(listing, np.isin(listing.labels, [list(listing.classes).index(name) for name in classes]))
    place = {name: at for at, name in enumerate(classes)}
    labels = np.array([place[listing.classes[label]] for label in common.labels], np.int64)
    ids = [f"{SHIFT}/{one}" for one in common.ids]
    bad = tuple(replace(one, id=f"{SHIFT}/{one.id}") for one in common.bad)
    return replace(common, ids=ids, bad=bad, labels=labels, classes=tuple(classes), splits=None, weights=None)
