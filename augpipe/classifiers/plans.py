"""The options fill and share: how many synthetic images a class gets, and how often one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from augpipe.core.counts import Counts, label_of
from augpipe.core.errors import UserError
from augpipe.core.schema import Strict

CLASS: Final = "class"  # in `by`: the class itself


class By(Strict):
    """A fill that makes the cells class x attribute equally large, where train has images of them."""

    by: Annotated[tuple[str, ...], Field(min_length=2)]
    """`class` and the names of one or more of `source.attributes`."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names without `class`."""
        return tuple(name for name in self.by if name != CLASS)


def _parse_by(names: Any) -> By:
    """`[class, scanner]` → By; UserError for anything else."""
    listed = list(names) if isinstance(names, list | tuple) else [names]
    if not all(isinstance(name, str) for name in listed) or CLASS not in listed or len(listed) < 2:
        raise UserError(
            f"a fill by attributes names {CLASS} and attributes, such as {{by: [{CLASS}, scanner]}}; got {names!r}"
        )
    if len(set(listed)) < len(listed):
        raise UserError(f"duplicate name in the fill by {', '.join(listed)}")
    return By(by=tuple(listed))


def _parse_fill(value: Any) -> Any:
    """Validate a fill, with class names as text and NumPy's numbers as Python's; UserError for anything else."""
    if isinstance(value, By):
        return value
    if isinstance(value, Mapping) and set(value) == {"by"} and not isinstance(_plain(value["by"]), int | float):
        return _parse_by(value["by"])
    if isinstance(value, Mapping):
        value = {name: _plain(n) for name, n in value.items()}
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Mapping):
        raise UserError(f"a fill must be a name, a number or a mapping; got {value!r}")
    if isinstance(value, str):
        if value not in _NAMED:
            raise UserError(
                f"unknown fill {value!r}; choose from {', '.join(_NAMED)}, a float in (0, 1], "
                f"a count, a count per class, or {{by: [{CLASS}, ATTRIBUTE]}}"
            )
        return value
    if isinstance(value, float):
        if not 0 < value <= 1:
            raise UserError(f"a fill as a fraction of the largest class must be in (0, 1]; got {value}")
        return value
    counts = {str(k): n for k, n in value.items()} if isinstance(value, Mapping) else {"": value}
    if isinstance(value, Mapping) and len(counts) < len(value):
        raise UserError(f"duplicate class in the fill {dict(value)!r}")
    for n in counts.values():
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise UserError(f"a fill must be an integer of at least 0 per class; got {n!r}")
    return counts if isinstance(value, Mapping) else value


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python; anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value


_NAMED: dict[str, Callable[[Counts], set[int]]] = {
    "minority": lambda have: {min(have, key=lambda c: (have[c], c))},
    "not minority": lambda have: set(have) - {min(have, key=lambda c: (have[c], c))},
    "not majority": lambda have: set(have) - {max(have, key=lambda c: (have[c], -c))},
    "all": set,
}
_NAMED["auto"] = _NAMED["search"] = _NAMED["not majority"]

# Number of synthetic images per class, in any spelling (see `plan`).
Fill = Annotated[str | int | float | By | Mapping[str, int], BeforeValidator(_parse_fill)]


def _parse_share(value: Any) -> Any:
    """Validate a share, with class names as text and numbers as float; UserError for anything else."""
    if isinstance(value, str) and value in SHARE_WORDS:
        return value
    if isinstance(value, str) and isinstance(_number(value), str):
        raise UserError(
            f"unknown share {value!r}; choose from {', '.join(SHARE_WORDS)}, a number in [0, 1], or one per class"
        )
    named = dict(value) if isinstance(value, Mapping) else {"": value}
    named = {str(k): _number(v) for k, v in named.items()}
    if isinstance(value, Mapping) and len(named) < len(value):
        raise UserError(f"duplicate class in the share {dict(value)!r}")
    for v in named.values():
        if isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v <= 1:
            raise UserError(f"a share must be a number in [0, 1]; got {v!r}")
    named = {name: float(v) for name, v in named.items()}
    return named if isinstance(value, Mapping) else named[""]


def _number(value: Any) -> Any:
    """Text as a float if possible: YAML reads 5e-2 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


SHARE_WORDS: Final = ("fill", "auto", "per_class")

_Part = Annotated[float, Field(ge=0, le=1)]
# Probability that an item of a class is synthetic: see `options.Mix`.
Share = Annotated[_Part | Literal["fill", "auto", "per_class"] | Mapping[str, _Part], BeforeValidator(_parse_share)]


def plan(fill: Fill, have: Counts, classes: Sequence[str]) -> dict[int, int]:
    """Resolve a `fill` to class → number of **synthetic** images to generate, without classes that get none.

    - `minority | not minority | not majority | all | auto`: these classes are filled up to the largest class
      (imbalanced-learn's `sampling_strategy`; `auto` is `not majority`); `search` is the same, and val chooses the
      fraction that an arm uses;
    - a float in (0, 1]: every class is filled up to that fraction of the largest class;
    - an int: every class gets that many;
    - a mapping of class name to int: that many synthetic images of the class (in imbalanced-learn the number includes
      real ones).
    Raises UserError for anything else, and for a fill by attributes (see `plan_cells`): `have` does not show them.
    """
    largest, fill = max(have.values()), _parse_fill(fill)
    if isinstance(fill, By):
        raise UserError(f"the fill by {', '.join(fill.by)} needs a run's source.attributes; choose another fill")
    if isinstance(fill, str):
        requested = {c: largest - have[c] for c in _NAMED[fill](have)}
    elif isinstance(fill, Mapping):
        requested = {label_of(name, classes): int(n) for name, n in fill.items()}
    elif isinstance(fill, int):
        requested = dict.fromkeys(have, fill)
    else:
        requested = {c: round(largest * fill) - n for c, n in have.items()}
    return {c: n for c, n in sorted(requested.items()) if n > 0}


def plan_cells(have: Counts, known: Sequence[bool]) -> dict[int, int]:
    """Cell → number of synthetic images that fills it up to the largest cell, without cells that get none.

    have: training images of each cell. known: whether a cell's values are known, (C,). A cell without training images
    gets none, since no generator can learn it; nor does one of unknown values.
    """
    filled = {cell: n for cell, n in have.items() if n > 0 and known[cell]}
    largest = max(filled.values(), default=0)
    return {cell: largest - n for cell, n in sorted(filled.items()) if n < largest}
