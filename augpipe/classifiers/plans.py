"""Fill and share: how many synthetic images a class gets, and how often one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from augpipe.core.counts import Counts, label_of
from augpipe.core.errors import UserError


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
# How often an item of a class is a synthetic one: see `options.Mix`.
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
