"""Names of operations in a config; without torch, so that a misspelt one is reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from augpipe.core.errors import unknown
from augpipe.core.registry import registered_in

# Names of the functions in `augment`, which imports torch.
AUGMENTATIONS: Final = registered_in(Path(__file__).with_name("augment.py"), "ops.register")


# Names of the classes in `adversarial_losses`.
LOSSES: Final = registered_in(Path(__file__).with_name("adversarial_losses.py"), "losses.register")
# Losses with which only differences of the critic's scores count; with the others a score above 0 means real.
UNSIGNED: Final = ("wasserstein_gp", "relativistic_average", "relativistic_pairing")
# Losses that train the critic's scores to targets.
WITH_TARGETS: Final = ("nonsaturating", "least_squares")
# Losses whose generator side also takes the scores of reals.
RELATIVISTIC: Final = ("relativistic_average", "relativistic_pairing")
# Losses with terms of one real and one fake image, which are of the same class then.
PAIRED: Final = ("wasserstein_gp", "relativistic_pairing")


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
    return names


Operations = Annotated[tuple[str, ...], AfterValidator(_known)]


def _known_loss(name: str) -> str:
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return name


Loss = Annotated[str, AfterValidator(_known_loss)]
