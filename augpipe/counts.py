"""Counts = class → images; profiles (how imbalance is made) and plans (how it is repaired)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from augpipe.errors import UserError
from augpipe.images import label_of
from augpipe.kinds import Registry
from augpipe.schema import OneOf, Strict, explain

Counts = Mapping[int, int]


class Profile(Strict):
    """How train becomes imbalanced: class → images kept."""

    profile: str

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """Images to keep of each class; every value lies in 1..have[class]."""
        raise NotImplementedError


profiles: Registry[type[Profile]] = Registry("imbalance profile")


@profiles.register("natural")
class Natural(Profile):
    """As it comes."""

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """Everything."""
        return dict(have)


@profiles.register("step")
class Step(Profile):
    """The named classes keep a share of their images, at least one (Buda et al. 2018, step imbalance)."""

    classes: tuple[str | int, ...]
    keep: float = Field(gt=0, le=1)

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """round(keep · n) of a named class, at least 1."""
        cut = {label_of(name, classes) for name in self.classes}
        return {c: max(1, round(n * self.keep)) if c in cut else n for c, n in have.items()}


@profiles.register("long_tail")
class LongTail(Profile):
    """n_c = n_max · factor^(-c/(K-1)) in label order, at most what there is (Cui et al. 2019)."""

    factor: float = Field(ge=1)

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """The curve's value at the class's place."""
        most, last = max(have.values()), max(1, len(have) - 1)
        return {
            c: min(n, max(1, round(most * self.factor ** (-c / last)))) for c, n in have.items()
        }


@profiles.register("counts")
class Explicit(Profile):
    """So many of each named class; the others as they come."""

    counts: Mapping[str | int, Annotated[int, Field(ge=1)]]

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """As asked; UserError where there are fewer."""
        asked = {label_of(name, classes): n for name, n in self.counts.items()}
        for label, n in asked.items():
            if n > have[label]:
                raise UserError(
                    f"class {classes[label]!r} has {have[label]} training images, fewer than the {n} asked for"
                )
        return {**have, **asked}


@profiles.register("drop")
class Drop(Profile):
    """One class loses a percentage of its images (Mariani et al. 2018, BAGAN)."""

    drop_class: str | int
    percent: float = Field(ge=0, lt=100)

    def target(self, have: Counts, classes: Sequence[str]) -> dict[int, int]:
        """round((1 - percent/100) · n) of the class, at least 1."""
        label = label_of(self.drop_class, classes)
        return {**have, label: max(1, round(have[label] * (1 - self.percent / 100)))}


def _resolve(value: Any) -> Any:
    if isinstance(value, Profile):
        return value
    if isinstance(value, str):
        value = {"profile": value}
    if not isinstance(value, Mapping) or "profile" not in value:
        raise UserError(f"an imbalance is a mapping with a profile; got {value!r}")
    try:
        return profiles[value["profile"]].model_validate(value)
    except ValidationError as error:
        raise UserError(explain(error)) from None


Imbalance = Annotated[SerializeAsAny[Profile], OneOf(_resolve, "profile", profiles.items)]


def thin(labels: NDArray[np.int64], target: Counts, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows to keep, sorted, so that class c has target[c] images; drawn without replacement."""
    kept = [
        rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in sorted(target.items())
    ]
    return np.sort(np.concatenate(kept)).astype(np.int64)


def imbalance_ratio(counts: Counts) -> float:
    """Largest class over smallest; inf where a class is empty."""
    least = min(counts.values())
    return max(counts.values()) / least if least else float("inf")


def _plain_fill(value: Any) -> Any:
    """Names of classes as text, numbers not negative, words known; UserError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Mapping):
        raise UserError(f"a fill is a word, a number or a dict; got {value!r}")
    if isinstance(value, str):
        if value not in _NAMED:
            raise UserError(
                f"unknown fill {value!r}; have {', '.join(_NAMED)}, a float in (0, 1], "
                "a count, or a count per class"
            )
        return value
    if isinstance(value, float):
        if not 0 < value <= 1:
            raise UserError(
                f"a fill that is a share of the largest class lies in (0, 1]; got {value}"
            )
        return value
    counts = {str(k): n for k, n in value.items()} if isinstance(value, Mapping) else {"": value}
    if isinstance(value, Mapping) and len(counts) < len(value):
        raise UserError(f"a class is given twice in the fill {dict(value)!r}")
    for n in counts.values():
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise UserError(f"a fill counts images with whole numbers from 0 on; got {n!r}")
    return counts if isinstance(value, Mapping) else value


_NAMED: dict[str, Callable[[Counts], set[int]]] = {
    "minority": lambda have: {min(have, key=lambda c: (have[c], c))},
    "not minority": lambda have: set(have) - {min(have, key=lambda c: (have[c], c))},
    "not majority": lambda have: set(have) - {max(have, key=lambda c: (have[c], -c))},
    "all": set,
}
_NAMED["auto"] = _NAMED["search"] = _NAMED["not majority"]

# How many synthetic images a class gets, in any of its spellings (see `plan`).
Fill = Annotated[str | int | float | Mapping[str, int], BeforeValidator(_plain_fill)]


def _plain_share(value: Any) -> Any:
    """Names of classes as text, numbers in [0, 1], words known; UserError for anything else."""
    if isinstance(value, str) and value in SHARE_WORDS:
        return value
    if isinstance(value, str) and isinstance(_number(value), str):
        raise UserError(
            f"unknown share {value!r}; have {', '.join(SHARE_WORDS)}, a number in [0, 1], or one per class"
        )
    named = dict(value) if isinstance(value, Mapping) else {"": value}
    named = {str(k): _number(v) for k, v in named.items()}
    if isinstance(value, Mapping) and len(named) < len(value):
        raise UserError(f"a class is given twice in the share {dict(value)!r}")
    for v in named.values():
        if isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v <= 1:
            raise UserError(f"a share is a number in [0, 1]; got {v!r}")
    named = {name: float(v) for name, v in named.items()}
    return named if isinstance(value, Mapping) else named[""]


def _number(value: Any) -> Any:
    """YAML takes 5e-2 for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


SHARE_WORDS: Final = ("fill", "auto", "per_class")

_Part = Annotated[float, Field(ge=0, le=1)]
# How often an item of a class is a synthetic one: see `mixing.Mix`.
Share = Annotated[
    _Part | Literal["fill", "auto", "per_class"] | Mapping[str, _Part],
    BeforeValidator(_plain_share),
]


def plan(fill: Fill, have: Counts, classes: Sequence[str]) -> dict[int, int]:
    """Every spelling of `fill` → class → **synthetic** images to make; classes that get none are left out.

    - `minority | not minority | not majority | all | auto`: the named classes are filled up to the
      largest class (imbalanced-learn's `sampling_strategy`; `auto` is `not majority`); `search` is the same, of
      which an arm uses the part that val chooses;
    - a float in (0, 1]: every class is filled up to that share of the largest class;
    - an int: every class gets so many;
    - a dict class name → so many for that class (imbalanced-learn counts real ones in; here the number
      says how many are made).
    Raises UserError for anything else.
    """
    most, fill = max(have.values()), _plain_fill(fill)
    if isinstance(fill, str):
        asked = {c: most - have[c] for c in _NAMED[fill](have)}
    elif isinstance(fill, Mapping):
        asked = {label_of(name, classes): int(n) for name, n in fill.items()}
    elif isinstance(fill, int):
        asked = dict.fromkeys(have, fill)
    else:
        asked = {c: round(most * fill) - n for c, n in have.items()}
    return {c: n for c, n in sorted(asked.items()) if n > 0}
