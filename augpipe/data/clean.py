"""Divide images into train, val and test, and remove duplicates across them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.counts import LEAST_TEST
from augpipe.core.errors import UserError, several
from augpipe.data.duplicates import equal_groups, near_groups
from augpipe.data.intake import Intake
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.sources._listing import Listing, alike, only
from augpipe.data.split import NAMES, split

Rows = NDArray[np.int64]
MOST_TEST: Final = 0.5  # fraction of a class that advice gives to test


@dataclass(frozen=True)
class Partition:
    """Rows of train, val and test; images removed as duplicates across splits; notes for the user."""

    kind: str
    rows: dict[str, Rows]
    removed: dict[str, tuple[str, str]]  # id → class, reason
    notes: tuple[str, ...]


def check_names(classes: Sequence[str]) -> None:
    """UserError for classes whose names differ only in case, white space or Unicode normalisation."""
    for names in alike(classes):
        raise UserError(
            f"the classes {' and '.join(repr(name) for name in names)} differ only in case, spaces or spelling; "
            "rename one or merge them"
        )


def drop_small_classes(listing: Listing, least: int) -> Listing:
    """Drop classes of fewer than `least` images, with a note."""
    have = np.bincount(listing.labels, minlength=len(listing.classes))
    large = np.flatnonzero(have >= least)
    if least <= 1 or len(large) == len(have):
        return listing
    new_label = np.full(len(have), -1, np.int64)
    new_label[large] = np.arange(len(large))
    remaining = only(listing, new_label[listing.labels] >= 0)
    note = (
        f"{several(len(have) - len(large), 'class')} with fewer than {least} images left out "
        f"({several(len(listing) - len(remaining), 'image')})"
    )
    return replace(
        remaining,
        labels=new_label[remaining.labels],
        classes=tuple(listing.classes[c] for c in large),
        notes=(*listing.notes, note),
    )


def check_classes(intake: Intake, least: int = 1) -> None:
    """UserError for a class with fewer than `least` usable pictures, or none."""
    have = np.bincount(intake.labels, minlength=len(intake.listing.classes))
    for name, n in zip(intake.listing.classes, have, strict=True):
        if 0 < n < least:
            raise UserError(
                f"class {name!r} has {several(int(n), 'picture')} that can be used, fewer than min_images {least}: "
                "exclude it with source.classes, or fix its files"
            )
        if n == 0:
            unusable = [one for one in intake.bad if one.label == name]
            detail = (
                f": {len(unusable)} could not be used, the first: {unusable[0].reason}"
                if unusable
                else ""
            )
            raise UserError(
                f"class {name!r} has no usable picture{detail}; add some, or exclude it with source.classes"
            )


def part(
    intake: Intake, options: SplitOptions, policy: Policy, rng: np.random.Generator
) -> Partition:
    """Split, then remove duplicates across splits: from train if also in val or test, from val if also in test.

    UserError if a class is too small, or has no image left in train, val or test.
    """
    labels, classes = intake.labels, intake.listing.classes
    kind, rows = split(labels, classes, options, rng, groups=intake.groups, official=intake.splits)
    removed: dict[str, tuple[str, str]] = {}
    notes = [*_group_notes(intake.groups, rows), *few_test_images(intake, rows["test"], kind)]
    if policy.duplicates != "keep":
        rows, removed = _without_overlap(intake, rows, policy.duplicates == "near")
    for side in ("train", "val"):
        n = sum(reason.startswith(f"removed from {side}") for _, reason in removed.values())
        if n:
            later = "val or test" if side == "train" else "test"
            notes.append(f"{several(n, 'image')} removed from {side}: also in {later}")
    if policy.duplicates == "once":
        rows, repeated = _without_repeats(intake, rows)
        removed |= repeated
        if repeated:
            n_repeated = several(len(repeated), "image")
            notes.append(f"{n_repeated} removed as duplicates within train, val or test")
    for side in NAMES:
        for label, name in enumerate(classes):
            if not (labels[rows[side]] == label).any():
                raise UserError(
                    f"class {name!r} has no image left in {side} after duplicates across splits are removed; "
                    "set duplicates: keep to keep them"
                )
    return Partition(kind, rows, removed, tuple(notes))


def _without_overlap(
    intake: Intake, rows: dict[str, Rows], near: bool
) -> tuple[dict[str, Rows], dict[str, tuple[str, str]]]:
    """Rows without duplicates of images in a later split; removed ids with class and reason."""
    facts = intake.facts
    groups = equal_groups(facts.content)
    if near:
        groups = near_groups(groups, facts.hashes, facts.thumbs, facts.tints)
    remaining, removed = dict(rows), {}
    ids, labels, classes = intake.ids, intake.labels, intake.listing.classes
    for side, later in (("train", ("val", "test")), ("val", ("test",))):
        first: dict[int, tuple[str, int]] = {}
        for other in later:
            for row in rows[other]:
                first.setdefault(int(groups[row]), (other, int(row)))
        later_groups = np.fromiter(first, np.int64, len(first))
        is_duplicate = np.isin(groups[rows[side]], later_groups)
        for row in rows[side][is_duplicate]:
            other, twin = first[int(groups[row])]
            relation = (
                "equal to" if facts.content[row] == facts.content[twin] else "nearly equal to"
            )
            reason = f"removed from {side}: {relation} {ids[twin]} in {other}"
            if labels[row] != labels[twin]:
                reason += f", which has class {classes[labels[twin]]}"
            removed[ids[int(row)]] = (classes[labels[row]], reason)
        remaining[side] = rows[side][~is_duplicate]
    return remaining, removed


def _without_repeats(
    intake: Intake, rows: dict[str, Rows]
) -> tuple[dict[str, Rows], dict[str, tuple[str, str]]]:
    """Rows with only the first of equal images within each split; removed ids with class and reason."""
    groups, ids = equal_groups(intake.facts.content), intake.ids
    labels, classes = intake.labels, intake.listing.classes
    remaining, removed = {}, {}
    for side, side_rows in rows.items():
        _, first, inverse = np.unique(groups[side_rows], return_index=True, return_inverse=True)
        remaining[side] = side_rows[np.sort(first)]
        for row, twin in zip(side_rows, side_rows[first[inverse]], strict=True):
            if row != twin:
                reason = f"removed from {side}: equal to {ids[int(twin)]} in {side}"
                if labels[row] != labels[twin]:
                    reason += f", which has class {classes[labels[twin]]}"
                removed[ids[int(row)]] = (classes[labels[row]], reason)
    return remaining, removed


def few_test_images(intake: Intake, test: Rows, kind: str) -> tuple[str, ...]:
    """Warn before anything is trained if a class has too few test images, or groups of them, for any verdict."""
    labels, groups = intake.labels, intake.groups
    units = np.arange(len(labels)) if groups is None else groups
    what = "image" if groups is None else "group"
    have = {
        name: len(set(units[test[labels[test] == label]].tolist()))
        for label, name in enumerate(intake.listing.classes)
    }
    few = {name: n for name, n in have.items() if n < LEAST_TEST}
    if not few:
        return ()
    total = min(
        len(set(units[labels == label].tolist()))
        for label, name in enumerate(intake.listing.classes)
        if name in few
    )
    share = math.ceil(20 * LEAST_TEST / max(1, total)) / 20
    advice = (
        f"set split.test={share:g}"
        if share <= MOST_TEST
        else "add images, or leave the class out (min_images)"
    )
    if kind == "official":
        advice = f"draw another split (split.kind=stratified) and {advice}"
    named = ", ".join(f"{name!r} {n}" for name, n in list(few.items())[:5])
    return (
        f"no verdict is possible: at least {LEAST_TEST} test {what}s of every class are needed, and "
        f"{several(len(few), 'class')} of {len(have)} have fewer ({named}{', ...' if len(few) > 5 else ''}); {advice}",
    )


def _group_notes(groups: NDArray[np.object_] | None, rows: dict[str, Rows]) -> tuple[str, ...]:
    """Note if groups are divided between splits, as in an official or stratified split."""
    n = divided_groups(groups, rows)
    note = f"{several(n, 'group')} divided between train, val and test; set split.kind: grouped to keep each in one"
    return (note,) if n else ()


def divided_groups(groups: NDArray[np.object_] | None, rows: dict[str, Rows]) -> int:
    """Number of groups with images in more than one of train, val and test."""
    if groups is None:
        return 0
    sides = [set(groups[side_rows].tolist()) for side_rows in rows.values()]
    divided = set()
    for index, first in enumerate(sides):
        for second in sides[index + 1 :]:
            divided |= first & second
    return len(divided)
