"""Real image sets that ship with a library augpipe depends on: no download, no folder."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from augpipe.images import ImageOptions, ImageSet, ImageSpec, provenance
from augpipe.schema import KindConfig
from augpipe.sources._pictures import fit


class Config(KindConfig):
    """`digits`: 1,797 scans of hand-written digits, 8x8 grey, ten classes (scikit-learn; UCI, 1998)."""

    kind: Literal["bundled"]
    name: Literal["digits"] = "digits"


def load(config: Config, options: ImageOptions) -> ImageSet:
    """The whole set at `options.size` (default 16), grey or RGB; its 17 grey levels spread over 0..255."""
    spec = ImageSpec(size=options.size or 16, channels=options.channels or 1)
    bunch = load_digits()
    grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    mode = "L" if spec.channels == 1 else "RGB"
    images = np.stack([fit(Image.fromarray(g).convert(mode), spec, options.resize) for g in grey])
    ids = [f"digits/{row:04d}" for row in range(len(images))]
    return ImageSet(
        images,
        bunch.target.astype(np.int64),
        tuple(str(name) for name in bunch.target_names),
        provenance(ids, sources=ids),
    )
