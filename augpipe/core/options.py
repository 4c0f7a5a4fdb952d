"""Options of images and of the device. The options of a package are in its `options.py`, which imports no torch code.

Options of a kind (sources, generator families, imbalance profiles, losses) are next to the code of the kind.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from augpipe.core.schema import Strict

SHIFT: Final = "shift"  # name of the second test set among the splits

Resize = Literal["stretch", "fit", "crop"]
Window = tuple[float, float] | Literal["full"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "bf16-mixed", "32-true"]


def _rising(window: Window | None) -> Window | None:
    if window is not None and window != "full" and not window[0] < window[1]:
        raise ValueError(f"a window must be [low, high] with low < high; got {list(window)}")
    return window


class ImageOptions(Strict):
    """How the pictures of a source become arrays."""

    size: int | None = Field(default=None, ge=8, le=1024)
    """Height and width of every image, in pixels. null: chosen from the data."""

    channels: Literal[1, 3] | None = None
    """1: grey, 3: RGB. null: chosen from the data."""

    resize: Resize = "fit"
    """How a picture that is not square becomes square: `stretch` it, `fit` it with black borders, or `crop` its
    centre."""

    window: Annotated[Window | None, AfterValidator(_rising)] = None
    """Values of a picture of more than 8 bits that become 0 and 255: `[low, high]`, or `full` for the whole range of
    its type. null: such a picture is refused, because values above 255 would be lost."""
