"""Names of operations in a config; without torch, so that a misspelt one is reported at once."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from augpipe.core.errors import unknown

# Names of the functions in `augment`, which imports torch; a test compares them.
AUGMENTATIONS: Final = (
    "brightness",
    "saturation",
    "contrast",
    "translation",
    "cutout",
    "rotation",
    "scale",
    "affine",
    "flip",
)


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    return names


Operations = Annotated[tuple[str, ...], AfterValidator(_known)]
