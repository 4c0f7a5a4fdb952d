"""The second test set (`source.shift`): which of its images are copies of the source's, and messages on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from augpipe.core.counts import LEAST_TEST, counts_of
from augpipe.core.errors import UserError, several
from augpipe.core.options import SHIFT
from augpipe.data.duplicates import equal_groups
from augpipe.data.facts import Facts
from augpipe.data.intake import Intake
from augpipe.data.near_copies import near_copies
from augpipe.data.options import Duplicates


@dataclass(frozen=True)
class SecondSet:
    """The second test set as a run uses it. rows: of `intake`, without `removed` (id → class, reason)."""

    intake: Intake
    rows: NDArray[np.int64]
    removed: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Number of images of each class that are scored."""
        classes = self.intake.listing.classes
        counts = counts_of(self.intake.labels[self.rows], len(classes))
        return dict(zip(classes, counts.values(), strict=True))


def second_set(shift: Intake, intake: Intake, duplicates: Duplicates) -> SecondSet:
    """The second test set without copies of the source's images. UserError for a class that has no image left."""
    rows, removed = without_copies(shift, intake, duplicates)
    counts = counts_of(shift.labels[rows], len(shift.listing.classes))
    return SecondSet(shift, rows, removed, notes(shift, intake, counts, len(removed)))


def without_copies(
    shift: Intake, intake: Intake, duplicates: Duplicates
) -> tuple[NDArray[np.int64], dict[str, tuple[str, str]]]:
    """Rows of the second test set that are not also images of the source; removed ids with class and reason.

    Copies are removed here and not from train, so that a second test set changes no training.
    """
    n = len(intake.rows)
    rows = np.arange(len(shift.rows))
    if duplicates == "keep":
        return rows, {}
    both = _joined(intake.facts, shift.facts)
    groups, relation = equal_groups(both.content), "equal to"
    if duplicates == "near":
        parts = {"train": np.arange(n), "val": np.arange(0), "test": n + rows}
        groups, relation = near_copies(both, parts, complete=True).groups, "equal or nearly equal to"
    first = {int(group): at for at, group in reversed(list(enumerate(groups[:n].tolist())))}
    removed, ids, of_source = dict[str, tuple[str, str]](), shift.ids, intake.ids
    retained = np.ones(len(rows), bool)
    for row, group in enumerate(groups[n:].tolist()):
        if group in first:
            retained[row] = False
            name = shift.listing.classes[shift.labels[row]]
            removed[ids[row]] = name, f"removed from {SHIFT}: {relation} {of_source[first[group]]}"
    return rows[retained], removed


def _joined(one: Facts, other: Facts) -> Facts:
    return Facts(**{f.name: np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(Facts)})


def notes(shift: Intake, intake: Intake, counts: Mapping[int, int], removed: int) -> tuple[str, ...]:
    """Messages on the second test set. counts: images of each class that are left. UserError for a class without."""
    classes = shift.listing.classes
    for label, n in counts.items():
        if not n:
            raise UserError(
                f"class {classes[label]!r} has no image left in source.shift after copies of the source's images are "
                "removed; set duplicates: keep to keep them"
            )
    lines = [f"{SHIFT}: {note}" for note in shift.notes]
    if removed:
        lines.append(f"{several(removed, 'image')} removed from {SHIFT}: also in the source")
    if shift.bad:
        lines.append(f"{several(len(shift.bad), 'file')} of source.shift that cannot be used; quarantine.csv says why")
    few = {classes[label]: n for label, n in counts.items() if n < LEAST_TEST}
    if few:
        named = ", ".join(f"{name!r} {n}" for name, n in few.items())
        lines.append(f"fewer than {LEAST_TEST} images of a class in source.shift ({named}): rely on no interval of it")
    if shift.groups is not None and intake.groups is not None:
        common = len({*shift.groups.tolist()} & {*intake.groups.tolist()})
        if common:
            lines.append(
                f"{several(common, 'group')} of source.shift named as one of the source; if they are the same, such as "
                "one patient, leave them out"
            )
    return tuple(lines)
