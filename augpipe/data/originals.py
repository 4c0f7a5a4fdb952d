"""Read pictures again at their own size, to publish them beside synthetic ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.options import ImageOptions
from augpipe.data.sources._listing import Listing
from augpipe.data.sources._pictures import UNREADABLE, converted, decode, fit, quiet


def originals(listing: Listing, images: ImageSet, options: ImageOptions) -> Iterator[Image.Image]:
    """Each image's picture at its own size, upright, with 8 bits and the channels of `images`; in the order of
    `images`.

    options: those with which `images` were read. UserError if a picture is gone, cannot be read, or is another one than
    was read then.
    """
    row_of = {name: row for row, name in enumerate(listing.ids)}
    names = images.table["id"].tolist()
    rows = np.array([row_of.get(name, -1) for name in names], np.int64)
    if (rows < 0).any():
        raise UserError(f"the source has no picture {names[int(np.argmin(rows))]!r} any more")
    # Sources read forwards: tables, archives and shards would be read anew for each step back.
    order = np.argsort(rows, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        raise UserError("the source lists its pictures in another order than before; run the command again")
    with quiet():
        for name, image, blob in zip(names, images.images, listing.fetch(rows), strict=True):
            try:
                picture = converted(decode(blob, options.window).pixels, images.spec)
            except UNREADABLE as error:
                raise UserError(f"cannot read {name} again: {error}") from None
            if not np.array_equal(fit(picture, images.spec, options.resize), image):
                raise UserError(f"{name} was changed while the command ran; run it again")
            yield picture
