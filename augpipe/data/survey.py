"""Choose the size and the channels of a set's images from a sample of its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.image_spec import ImageSpec
from augpipe.core.options import ImageOptions, Window
from augpipe.data.sources._listing import Listing, evenly
from augpipe.data.sources._pictures import UNREADABLE, Blob, decode, quiet

# Sizes that every generator family supports: base 4..7 times a power of 2.
SIZES: Final = (16, 24, 28, 32, 48, 56, 64, 96, 112, 128, 192, 224, 256)
# Largest automatic size: larger ones take hours on an ordinary machine and must be set explicitly.
LARGEST: Final = 64
REDUCED: Final = 1.5  # times: pictures that are made smaller than that are named
SOME: Final = 0.05  # fraction of all pictures from which reduced ones are named
MOST: Final = 0.5  # the same of a class
FEWEST: Final = 3  # sampled pictures from which a fraction of a class is named
SURVEYED: Final = 200  # pictures from which size and channels are chosen
COLOURED: Final = 8  # a picture is in colour if the channels of a pixel differ by more


@dataclass(frozen=True)
class Survey:
    """Result of `survey`: images per class, the chosen shape, and why it was chosen."""

    counts: dict[str, int]
    spec: ImageSpec
    about: str
    pixels: int  # median over pictures
    side: float  # median short side in pixels
    partial: str = ""  # what some of the pictures lose, if the median loses nothing
    digest: str = ""  # of the sampled pictures' pixels

    @property
    def loss(self) -> str:
        """What is lost because the pictures are made smaller; "" if they are not, or hardly."""
        size = self.spec.size
        if self.side < REDUCED * size:
            return self.partial
        return f"pictures are reduced {self.side / size:.2g} times to {_losing(size, self.side)}"


def _losing(size: int, side: float) -> str:
    """End of a message on pictures with `side` pixels that are reduced to `size`, and the size that would keep more."""
    text = f"{size} px, and finer detail is lost"
    larger = next((s for s in reversed(SIZES) if size < s <= side), None)
    if larger is None:
        return text
    return f"{text}; image.size={larger} keeps more and takes about {(larger / size) ** 2:.2g} times as long"


def _partial_loss(size: int, sides: NDArray[Any], labels: NDArray[Any], names: Sequence[str]) -> str:
    """What some pictures lose; "" if they are fewer than SOME of all, and than MOST of each class.

    sides: of each sampled picture, in pixels, the side that becomes `size`. labels: their class indices.
    """
    reduced = sides >= REDUCED * size
    fractions = {
        names[label]: float(reduced[labels == label].mean())
        for label in np.unique(labels)
        if (labels == label).sum() >= FEWEST
    }
    most = [f"class {name}: {n:.0%}" for name, n in fractions.items() if n >= MOST]
    total = float(reduced.mean()) if len(sides) else 0.0
    if total < SOME and not most:
        return ""
    if len(most) == len(fractions):  # no class differs from the others
        most = []
    named = f" ({', '.join(most[:3])}{', ...' if len(most) > 3 else ''})" if most else ""
    end = _losing(size, float(np.median(sides[reduced])))
    return f"{total:.0%} of the pictures{named} are reduced {REDUCED:g} times or more to {end}"


def survey(listing: Listing, options: ImageOptions) -> Survey:
    """Choose size and channels: as configured, else the largest of SIZES up to the median short side and LARGEST."""
    sides, areas, rows, colour, pixels_of = [], [], [], False, hashlib.blake2b(digest_size=16)
    sample = evenly(len(listing), SURVEYED)
    with quiet():
        for row, blob in zip(sample, listing.fetch(sample) if len(listing) else (), strict=True):
            picture = _decode_any(blob, options.window)
            if picture is None:
                continue  # reading it later reports the reason
            rows.append(row)
            pixels_of.update(picture.resize((32, 32), 0).tobytes())
            sides.append((min(picture.size), max(picture.size)))
            areas.append(picture.size[0] * picture.size[1])
            colour = colour or _coloured(picture)
    short, long = np.array(sides, float).reshape(-1, 2).T
    side = float(np.median(short)) if sides else float(SIZES[0])
    fitting = [size for size in SIZES if size <= min(side, LARGEST)]
    size = options.size or (fitting[-1] if fitting else SIZES[0])
    channels: int = options.channels or (3 if colour else 1)
    about = f"median short side {side:g} px, {'colour' if colour else 'grey'}"
    pixels = int(np.median(areas)) if areas else 0
    # A crop keeps the resolution of the short side; otherwise the long side becomes `size`.
    shrinking = short if options.resize == "crop" else long
    partial = _partial_loss(size, shrinking, listing.labels[np.array(rows, int)], listing.classes)
    spec = ImageSpec(size, channels)
    return Survey(listing.counts(), spec, about, pixels, side, partial, pixels_of.hexdigest())


def _decode_any(blob: Blob, window: Window | None) -> Any:
    """Decode with `window`, else with a guessed one, as only size and colour matter; None if it is unreadable."""
    guesses: tuple[Window, ...] = ("full", (0.0, 1.0))
    for candidate in (window, *guesses):
        try:
            return decode(blob, candidate).pixels
        except UNREADABLE:
            continue
    return None


def _coloured(picture: Any) -> bool:
    """Whether an RGB picture has colour; X-rays are often stored as RGB with three equal channels."""
    if picture.mode != "RGB":
        return False
    pixels = np.asarray(picture.resize((64, 64), 0)).astype(np.int16)
    return bool((pixels.max(2) - pixels.min(2)).max() > COLOURED)
