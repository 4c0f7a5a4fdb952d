"""The truncation trick (Marchesi 2017; Brock et al. 2019, 3.1): latents nearer to their mean give more typical, less
varied images.

Each latent z becomes m + psi (z - m), where m is the mean that the family draws latents around. psi = 1 changes
nothing.
"""

from __future__ import annotations

from augpipe.core.errors import UserError
from augpipe.generators.latents import LatentGenerator
from augpipe.generators.per_class import PerClass
from augpipe.generators.protocol import Generator


def truncate(generator: Generator, psi: float, kind: str) -> None:
    """Truncate all latents of later samples. kind: name of the family, for messages.

    UserError if psi is not in (0, 1], or the family's images do not depend on the length of a latent.
    """
    if not 0 < psi <= 1:
        raise UserError(f"--truncation must be above 0 and at most 1; got {psi:g}")
    models = generator.models if isinstance(generator, PerClass) else [generator]
    for model in models:
        if not isinstance(model, LatentGenerator) or model.not_truncated:
            why = getattr(model, "not_truncated", "it has no latents")
            raise UserError(f"--truncation has no effect on {kind}: {why}; leave it out")
        model.set_truncation(psi)
