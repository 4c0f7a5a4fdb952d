"""Divide images into train, val and test, and remove duplicates across them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.duplicates import equal_groups
from augpipe.data.few_test import few_test_note
from augpipe.data.intake import Intake
from augpipe.data.listing_check import check_filled, torn_groups
from augpipe.data.near_copies import NearCopies, near_copies
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.split import split
from augpipe.data.split_check import NAMES

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Rows of train, val and test; images removed as duplicates across splits; notes for the user.

    limits: what was not checked, for the report.

    near: near copies that were counted or, with `duplicates: near`, removed; None with `keep`. torn: number of groups
    that are divided between train, val and test.
    """

    kind: str
    rows: dict[str, Rows]
    removed: dict[str, tuple[str, str]]  # id → class, reason
    notes: tuple[str, ...]
    limits: tuple[str, ...]
    near: NearCopies | None
    torn: int


def check_classes(intake: Intake, least: int = 1) -> None:
    """UserError for a class with fewer than `least` usable pictures, or none."""
    check_filled(intake.labels, intake.listing.classes, intake.bad, least)


def part(intake: Intake, options: SplitOptions, policy: Policy, rng: np.random.Generator) -> Partition:
    """Split, then remove duplicates across splits: from train if also in val or test, from val if also in test.

    UserError if a class is too small, or has no image left in train, val or test, or groups are divided between them
    and the options do not allow that.
    """
    labels, classes = intake.labels, intake.listing.classes
    kind, rows = split(labels, classes, options, rng, groups=intake.groups, official=intake.splits)
    removed: dict[str, tuple[str, str]] = {}
    torn = torn_groups(intake.groups, rows, options)
    notes = [*torn_notes(torn, options), *few_test_images(intake, rows["test"], kind)]
    near, before, limits = None, rows, tuple[str, ...]()
    if policy.duplicates != "keep":
        if policy.duplicates == "near":
            near = near_copies(intake.facts, rows, complete=True)
            rows, removed = _without_overlap(intake, rows, near.groups)
        else:
            rows, removed = _without_overlap(intake, rows, equal_groups(intake.facts.content))
            near = near_copies(intake.facts, rows)
            notes += near.notes(rows)
        limits = near.small_notes(before)
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
    return Partition(kind, rows, removed, tuple(notes), limits, near, torn)


def _without_overlap(
    intake: Intake, rows: dict[str, Rows], groups: Rows
) -> tuple[dict[str, Rows], dict[str, tuple[str, str]]]:
    """Rows without images of the same group in a later split; removed ids with class and reason."""
    facts = intake.facts
    remaining, removed = dict(rows), {}
    ids = intake.ids
    for side, later in (("train", ("val", "test")), ("val", ("test",))):
        first: dict[int, tuple[str, int]] = {}
        for other in later:
            for row in rows[other]:
                first.setdefault(int(groups[row]), (other, int(row)))
        later_groups = np.fromiter(first, np.int64, len(first))
        is_duplicate = np.isin(groups[rows[side]], later_groups)
        for row in rows[side][is_duplicate]:
            other, twin = first[int(groups[row])]
            relation = "equal to" if facts.content[row] == facts.content[twin] else "nearly equal to"
            reason = f"removed from {side}: {relation} {ids[twin]} in {other}"
            removed[ids[int(row)]] = _removed(intake, row, twin, reason)
        remaining[side] = rows[side][~is_duplicate]
    return remaining, removed


def _removed(intake: Intake, row: int, twin: int, reason: str) -> tuple[str, str]:
    """Class of a removed image, and the reason, with the class of its twin if that is another."""
    name, other = (intake.listing.classes[intake.labels[at]] for at in (row, twin))
    return name, reason if name == other else f"{reason}, which has class {other}"


def _without_repeats(intake: Intake, rows: dict[str, Rows]) -> tuple[dict[str, Rows], dict[str, tuple[str, str]]]:
    """Rows with only the first of equal images within each split; removed ids with class and reason."""
    groups, ids = equal_groups(intake.facts.content), intake.ids
    remaining, removed = {}, {}
    for side, side_rows in rows.items():
        _, first, inverse = np.unique(groups[side_rows], return_index=True, return_inverse=True)
        remaining[side] = side_rows[np.sort(first)]
        for row, twin in zip(side_rows, side_rows[first[inverse]], strict=True):
            if row != twin:
                reason = f"removed from {side}: equal to {ids[int(twin)]} in {side}"
                removed[ids[int(row)]] = _removed(intake, row, twin, reason)
    return remaining, removed


def few_test_images(intake: Intake, test: Rows, kind: str) -> tuple[str, ...]:
    """Warn before anything is trained if a class has too few test images, or groups of them, for any verdict."""
    labels, groups = intake.labels, intake.groups
    units = np.arange(len(labels)) if groups is None else groups
    have, total = (
        {
            name: len(set(units[rows[labels[rows] == label]].tolist()))
            for label, name in enumerate(intake.listing.classes)
        }
        for rows in (test, np.arange(len(labels)))
    )
    return few_test_note(have, total, "image" if groups is None else "group", kind)


def torn_notes(torn: int, options: SplitOptions) -> tuple[str, ...]:
    """Note if groups are divided between splits, with the user's reason."""
    divided = f"{several(torn, 'group')} divided between train, val and test"
    return (f"{divided}, allowed because: {options.allow_torn_groups}",) if torn else ()
