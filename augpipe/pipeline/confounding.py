"""Arms whose synthetic images come with another change, which no arm makes alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from augpipe.classifiers.options import Mix
from augpipe.pipeline.arm import Arm
from augpipe.pipeline.experiment import Outline

EVEN: Final = ("auto", "not majority", "search", 1.0)  # fills that make all classes equally large
# Options of a mix that an arm without synthetic images can share.
SHARED: Final = ("loss", "weights", "defer", "blend", "alpha", "transform")
MOSTLY_REAL: Final = 0.5  # share of synthetic images below which a filled class is drawn more often for its real ones


def over_sampling(experiment: Outline) -> tuple[str, ...]:
    """A line for each arm that fills the classes up and draws them by their size, but mostly their real images.

    Its classes are drawn equally often: that is over-sampling of real images, whatever the synthetic ones add. An arm
    without synthetic images and with `sampler: balanced` makes only that change; without it, a gain cannot be told
    apart.
    """
    return tuple(_note(arm) for arm in experiment.arms if not _has_twin(arm, experiment))


def _note(arm: Arm) -> str:
    twin = json.dumps({"name": f"{arm.name}-resampled", "mix": dict(_twin(arm.mix))})
    return (
        f"the arm {arm.name!r} draws all classes equally often, as fill: {arm.mix.fill} makes them equally large, but "
        "mostly real images of them: a gain may come from this over-sampling. An arm that over-samples without "
        f"synthetic images: {twin}"
    )


def _has_twin(arm: Arm, experiment: Outline) -> bool:
    """Whether the arm needs no other one beside it, or has it."""
    mix = arm.mix
    if not arm.generators or mix.sampler == "balanced" or mix.fill not in EVEN:
        return True
    shares = mix.share.values() if isinstance(mix.share, Mapping) else [mix.share]
    if not any(share in ("auto", "per_class") or _below(share) for share in shares):
        return True
    return any(
        not other.generators
        and other.mix.sampler == "balanced"
        and all(getattr(other.mix, key) == getattr(mix, key) for key in SHARED)
        for other in experiment.arms
    )


def _below(share: object) -> bool:
    return isinstance(share, float) and share < MOSTLY_REAL


def _twin(mix: Mix) -> Iterator[tuple[str, object]]:
    """Options of the arm that over-samples without synthetic images."""
    yield "sampler", "balanced"
    values, default = mix.model_dump(mode="json"), Mix().model_dump(mode="json")
    yield from ((key, values[key]) for key in SHARED if values[key] != default[key])
