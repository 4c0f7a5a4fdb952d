"""Several labels of one image in one cell, such as `A|B`: recognised, then refused, left out, or read as a class."""

from __future__ import annotations

import ast
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.sources._listing import check_names, labelled

MORE: Final = 1.5  # combinations of labels for each label
LONGEST: Final = 10_000  # characters of a cell that is read as a list


class Labels(NamedTuple):
    """The label of each row (N,), and bool (N,): the rows that are left out because they have several."""

    names: NDArray[np.object_]
    dropped: NDArray[np.bool_]


def single_labels(
    labels: NDArray[np.object_],
    combined: Literal["drop", "class"] | None,
    *,
    where: str,
    column: str,
    decided: bool = False,
    known: Collection[str] | None = None,
) -> Labels:
    """Check labels (N,) for several in a cell; UserError if there are and neither `combined` nor `decided` says what to
    do.

    combined: `drop` leaves such rows out, `class` makes a class of each combination, its parts sorted: `B | A` → `A|B`.
    decided: the user has listed the classes, which leaves others out. known: labels that are several, if the source
    knows them; None: by their text, see `combinations`, and lists such as `["A", "B"]`. where, column: for the message.
    """
    none = np.zeros(len(labels), bool)
    if known is None:
        lists = _lists(labels)
        names = pd.Series(labels).map(lambda name: _joined(lists[name]) if name in lists else name)
        read = np.asarray(names, object)
        parts = {_joined(items): items for items in lists.values() if len(items) > 1}
        parts = combinations(set(pd.unique(read)) - {""}) | parts
    else:
        read, parts = labels, {name: (name,) for name in known}
    if combined == "class":
        joined = {name: _joined(items) for name, items in parts.items()}
        return Labels(np.array([joined.get(name, name) for name in read], object), none)
    if not parts or decided:
        return Labels(read, none)
    rows = np.asarray(pd.Series(read).isin(list(parts)), bool)
    if combined == "drop":
        return Labels(read, rows)
    raise UserError(
        f"{where} has several labels in one cell of the {column} in "
        f"{several(int(rows.sum()), 'row')} of {len(rows):,}, such as {labels[np.flatnonzero(rows)[0]]!r}: set "
        "source.combined=drop to leave these rows out, or source.combined=class to read each combination as a class"
    )


class Classified(NamedTuple):
    """Labels int64 (N,), -1 for images that are left out; class names; notes on how many are left out."""

    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def classified(single: Labels, classes: tuple[str, ...] | None, *, where: str, column: str, what: str) -> Classified:
    """Single labels of N images, "" without one → indices of classes; UserError if there is none, or for `check_names`.

    classes: to use, in order; None: all, sorted. what: row or picture.
    """
    has_label = (single.names != "") & ~single.dropped
    if not has_label.any():
        raise UserError(f"{where} has no label in its {column}")
    check_names(single.names[has_label], column, where)
    labels = np.full(len(single.names), -1, np.int64)
    labels[has_label], classes = labelled(single.names[has_label], classes, where)
    n_several, n_others = int(single.dropped.sum()), int((has_label & (labels < 0)).sum())
    notes = (
        f"{several(n_several, what)} with several labels left out" if n_several else "",
        f"{several(n_others, what)} of other classes left out" if n_others else "",
    )
    return Classified(labels, classes, tuple(note for note in notes if note))


def combinations(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that are several labels in one cell → the labels: `A|B`, `A;B`, `A,B`.

    With `|` a part that is in two names is enough. `;` and `,` are also in names of one class: there must be a name
    whose parts are all labels of other rows, or all in other combinations and not always in the same place, as `left,
    lung` and `left, heart` have them; then other names count that have one such part.
    """
    have, combined = set(names), dict[str, tuple[str, ...]]()
    for separator in "|;,":
        parts = {name: tuple(part.strip() for part in name.split(separator)) for name in have}
        many = {name: inner for name, inner in parts.items() if len(inner) > 1 and all(inner)}
        uses = Counter(part for inner in parts.values() for part in set(inner))
        labels = {part for part, n in uses.items() if n > 1} if separator == "|" else _certain_labels(have, many, uses)
        combined |= {name: inner for name, inner in many.items() if labels.intersection(inner)}
    return combined | _between_spaces(have)


def _between_spaces(have: set[str]) -> dict[str, tuple[str, ...]]:
    """Names of several labels between spaces, `cat dog`, which most names of one class are not.

    There must be each of its labels alone, or all names must be numbers, or there must be far more names than words,
    each in several.
    """
    words = {name: tuple(name.split()) for name in have}
    uses = Counter(word for inner in words.values() for word in set(inner))
    many = {name: inner for name, inner in words.items() if len(inner) > 1}
    if all(map(str.isdecimal, uses)) or (MORE * len(uses) <= len(have) and min(uses.values(), default=0) > 1):
        return many
    return {name: inner for name, inner in many.items() if have.issuperset(inner) and len(set(inner)) > 1}


def _certain_labels(have: set[str], many: dict[str, tuple[str, ...]], uses: Counter[str]) -> set[str]:
    """What is surely a label of its own if some name is surely a combination; else nothing."""
    places = defaultdict(set)
    for inner in many.values():
        for place, part in enumerate(inner):
            places[part].add(place)
    certain = [
        inner
        for inner in many.values()
        if have.issuperset(inner) or (all(uses[p] > 1 for p in inner) and any(len(places[p]) > 1 for p in inner))
    ]
    return have.union(*certain) if certain else set()


def _joined(items: Iterable[str]) -> str:
    return "|".join(sorted(set(items)))


def _lists(labels: NDArray[np.object_]) -> dict[str, tuple[str, ...]]:
    """Labels that are a list of JSON or Python → its entries as text."""
    read = {name: _items(name) for name in pd.unique(labels) if name[:1] == "[" and name[-1:] == "]"}
    return {name: items for name, items in read.items() if items is not None}


def _items(text: str) -> tuple[str, ...] | None:
    if len(text) > LONGEST:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            items = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if not any(isinstance(item, list | dict | tuple | set) for item in items):
            texts = (item if isinstance(item, str) else json.dumps(item, default=str) for item in items)
            return tuple(item for item in map(str.strip, texts) if item)
    return None
