"""Where images come from: one file a kind, each with a `Config` and `load(config, options) -> ImageSet`."""

from __future__ import annotations

from typing import Annotated

from pydantic import SerializeAsAny

from augpipe.images import ImageOptions, ImageSet
from augpipe.kinds import kinds_in, load_kind
from augpipe.schema import KindConfig, by_kind

Source = Annotated[SerializeAsAny[KindConfig], by_kind(__name__, "source")]


def sources() -> tuple[str, ...]:
    """The kinds of source there are."""
    return kinds_in(__name__)


def load(source: KindConfig, options: ImageOptions) -> ImageSet:
    """The whole set that `source` describes; UserError where it cannot be read."""
    images: ImageSet = load_kind(__name__, source.kind, "source").load(source, options)
    return images
