"""What was read → train, val and test, without an image on two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.duplicates import equal_groups, near_groups
from augpipe.data.intake import Intake
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.sources._listing import Listing, alike, only
from augpipe.data.split import NAMES, split

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Rows of each side; what was taken off a side and why; and what the user should know."""

    kind: str
    rows: dict[str, Rows]
    removed: dict[str, tuple[str, str]]  # id → class, reason
    notes: tuple[str, ...]


def check_names(classes: Sequence[str]) -> None:
    """UserError for classes whose names differ only in case, spaces or spelling of a letter."""
    for names in alike(classes):
        raise UserError(
            f"the classes {' and '.join(repr(name) for name in names)} differ only in case, spaces or spelling; "
            "rename one, or put their images together"
        )


def without_small(listing: Listing, least: int) -> Listing:
    """The listing without classes of fewer than `least` images, which is noted."""
    have = np.bincount(listing.labels, minlength=len(listing.classes))
    keep = np.flatnonzero(have >= least)
    if least <= 1 or len(keep) == len(have):
        return listing
    place = np.full(len(have), -1, np.int64)
    place[keep] = np.arange(len(keep))
    kept = only(listing, place[listing.labels] >= 0)
    told = (
        f"{several(len(have) - len(keep), 'class')} of fewer than {least} images left out "
        f"({several(len(listing) - len(kept), 'image')})"
    )
    return replace(
        kept,
        labels=place[kept.labels],
        classes=tuple(listing.classes[c] for c in keep),
        notes=(*listing.notes, told),
    )


def check_classes(intake: Intake, least: int = 1) -> None:
    """UserError for a class without a picture that can be used, or with fewer than `least` that can."""
    have = np.bincount(intake.labels, minlength=len(intake.listing.classes))
    for name, n in zip(intake.listing.classes, have, strict=True):
        if 0 < n < least:
            raise UserError(
                f"class {name!r} has {several(int(n), 'picture')} that can be used, fewer than min_images {least}: "
                "leave it out with source.classes, or mend its files"
            )
        if n == 0:
            lost = [one for one in intake.bad if one.label == name]
            why = f": {len(lost)} could not be used, the first: {lost[0].reason}" if lost else ""
            raise UserError(
                f"class {name!r} holds no picture{why}; add some, or leave it out with source.classes"
            )


def part(
    intake: Intake, options: SplitOptions, policy: Policy, rng: np.random.Generator
) -> Partition:
    """Split, then take what is there twice off the side that is nearer to training.

    UserError where a class is too small, or is left without an image on a side.
    """
    labels, classes = intake.labels, intake.listing.classes
    kind, rows = split(labels, classes, options, rng, groups=intake.groups, official=intake.splits)
    removed: dict[str, tuple[str, str]] = {}
    notes = list(_torn(intake.groups, rows))
    if policy.duplicates != "keep":
        rows, removed = _apart(intake, rows, policy.duplicates == "near")
    for side in ("train", "val"):
        n = sum(reason.startswith(f"taken from {side}") for _, reason in removed.values())
        if n:
            of = "val or test" if side == "train" else "test"
            notes.append(f"{several(n, 'image')} taken from {side}: also in {of}")
    if policy.duplicates == "once":
        rows, again = _once(intake, rows)
        removed |= again
        if again:
            told = several(len(again), "image")
            notes.append(f"{told} equal to another of the same side, taken once")
    for side in NAMES:
        for label, name in enumerate(classes):
            if not (labels[rows[side]] == label).any():
                raise UserError(
                    f"class {name!r} has no image left in {side} once those that are also elsewhere are taken "
                    "out; duplicates: keep leaves them in"
                )
    return Partition(kind, rows, removed, tuple(notes))


def _apart(
    intake: Intake, rows: dict[str, Rows], near: bool
) -> tuple[dict[str, Rows], dict[str, tuple[str, str]]]:
    """Rows without what is also on a later side; ids of what was taken, with class and reason."""
    facts = intake.facts
    same = equal_groups(facts.content)
    if near:
        same = near_groups(same, facts.hashes, facts.thumbs, facts.tints)
    kept, removed = dict(rows), {}
    ids, labels, classes = intake.ids, intake.labels, intake.listing.classes
    for side, later in (("train", ("val", "test")), ("val", ("test",))):
        first: dict[int, tuple[str, int]] = {}
        for other in later:
            for row in rows[other]:
                first.setdefault(int(same[row]), (other, int(row)))
        held = np.fromiter(first, np.int64, len(first))
        twice = np.isin(same[rows[side]], held)
        for row in rows[side][twice]:
            other, twin = first[int(same[row])]
            how = "equal to" if facts.content[row] == facts.content[twin] else "nearly equal to"
            told = f"taken from {side}: {how} {ids[twin]} in {other}"
            if labels[row] != labels[twin]:
                told += f", which is of class {classes[labels[twin]]}"
            removed[ids[int(row)]] = (classes[labels[row]], told)
        kept[side] = rows[side][~twice]
    return kept, removed


def _once(
    intake: Intake, rows: dict[str, Rows]
) -> tuple[dict[str, Rows], dict[str, tuple[str, str]]]:
    """Rows of which the first of equal ones stays on each side; ids of the others, with class and reason."""
    same, ids = equal_groups(intake.facts.content), intake.ids
    labels, classes = intake.labels, intake.listing.classes
    kept, removed = {}, {}
    for side, own in rows.items():
        _, first, place = np.unique(same[own], return_index=True, return_inverse=True)
        kept[side] = own[np.sort(first)]
        for row, twin in zip(own, own[first[place]], strict=True):
            if row != twin:
                told = f"taken from {side}: equal to {ids[int(twin)]} in {side}"
                if labels[row] != labels[twin]:
                    told += f", which is of class {classes[labels[twin]]}"
                removed[ids[int(row)]] = (classes[labels[row]], told)
    return kept, removed


def _torn(groups: NDArray[np.object_] | None, rows: dict[str, Rows]) -> tuple[str, ...]:
    """A line where a group stands on several sides, as the source's own split or a stratified one may have it."""
    n = torn_groups(groups, rows)
    told = f"{several(n, 'group')} on several sides of the split; split.kind: grouped keeps each on one"
    return (told,) if n else ()


def torn_groups(groups: NDArray[np.object_] | None, rows: dict[str, Rows]) -> int:
    """How many groups have images on more than one side."""
    if groups is None:
        return 0
    sides = [set(groups[own].tolist()) for own in rows.values()]
    several = set()
    for at, one in enumerate(sides):
        for other in sides[at + 1 :]:
            several |= one & other
    return len(several)
