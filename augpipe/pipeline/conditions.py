"""What each generator is conditioned on: the class, or the class and the attributes that the fill of its arms names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from augpipe.core.errors import choices
from augpipe.core.schema import KindConfig
from augpipe.pipeline.arm import Arm

Conditions = Mapping[str, tuple[str, ...]]  # generator → attributes besides the class


def conditions(arms: Iterable[Arm]) -> Conditions:
    """The attributes of each generator, without generators that know classes alone.

    ValueError if two arms would train the same generator on different labels.
    """
    first: dict[str, Arm] = {}
    for arm in arms:
        for name in arm.generators:
            other = first.setdefault(name, arm)
            if other.mix.attributes != arm.mix.attributes:
                raise ValueError(
                    f"generator {name!r} cannot serve arms {other.name!r} ({_labels(other)}) and {arm.name!r} "
                    f"({_labels(arm)}): give it a second entry in generators, with another name"
                )
    return {name: arm.mix.attributes for name, arm in first.items() if arm.mix.attributes}


def check_attributes(arms: Iterable[Arm], source: KindConfig) -> None:
    """ValueError if the fill of an arm names an attribute that the source does not have."""
    have: tuple[str, ...] = getattr(source, "attributes", ())
    for arm in arms:
        for name in arm.mix.attributes:
            if name not in have:
                offer = f"choose from {choices(have)}" if have else "set source.attributes"
                raise ValueError(f"mix.fill of arm {arm.name!r}: unknown attribute {name!r}; {offer}")


def _labels(arm: Arm) -> str:
    return " x ".join(("class", *arm.mix.attributes))
