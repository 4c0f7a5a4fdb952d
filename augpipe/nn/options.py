"""Names of operations in a config; without torch, so that a misspelt one is reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from augpipe.core.errors import unknown
from augpipe.core.registry import registered_in

# Names of the functions in `augment`, which imports torch.
AUGMENTATIONS: Final = registered_in(Path(__file__).with_name("augment.py"), "ops.register")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    return names


Operations = Annotated[tuple[str, ...], AfterValidator(_known)]
