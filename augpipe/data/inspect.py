"""Inspect a source: class counts, image sizes, duplicates, leaks, and what would stop a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.core.images import ImageSpec
from augpipe.core.options import ImageOptions
from augpipe.core.seeds import numpy_stream
from augpipe.data.clean import (
    check_classes,
    check_names,
    divided_groups,
    drop_small_classes,
    few_test_images,
    part,
)
from augpipe.data.duplicates import equal_groups, near_groups
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.intake import Intake, Progress, Survey, picture, survey, take_in
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.quarantine import MOST_BAD, reasons
from augpipe.data.sources._listing import Listing
from augpipe.data.split import NAMES

EXAMPLES: Final = 12  # groups of duplicates shown
SHOWN: Final = 16  # images of a class on its contact sheet
SHEETS: Final = 60  # classes with a contact sheet
SIDE: Final = 56  # pixels of an image on a sheet
IN_GROUP: Final = 6  # images shown per group of duplicates
TINY: Final = 10  # classes with fewer images get a warning: their test score is imprecise
Sides = NDArray[np.object_]


@dataclass(frozen=True)
class Problem:
    """A finding: an error that stops a run, a leak between splits, or a warning."""

    severity: Literal["stop", "leak", "warning"]
    text: str


@dataclass(frozen=True)
class DuplicateGroups:
    """Groups of duplicate images.

    extra: images beyond the first of each group. across_splits: `val in train` → number of val images that are also in
    train, and so on. mixed_classes: number of groups with several classes. examples: rows of some groups, those across
    splits first.
    """

    groups: int
    extra: int
    across_splits: Mapping[str, int]
    mixed_classes: int
    examples: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Inspection:
    """Result of `inspect`. sides: train, val or test of each image; None if unknown."""

    intake: Intake
    survey: Survey
    sides: Sides | None
    split: str
    equal: DuplicateGroups
    near: DuplicateGroups
    problems: tuple[Problem, ...]

    def counts(self, side: str | None = None) -> dict[str, int]:
        """Number of images per class, in one of train, val and test or in all."""
        labels = self.intake.labels
        if side is not None:
            labels = labels[self.sides == side] if self.sides is not None else labels[:0]
        classes = self.intake.listing.classes
        n_images = np.bincount(labels, minlength=len(classes))
        return dict(zip(classes, (int(n) for n in n_images), strict=True))

    def facts(self) -> dict[str, Any]:
        """The whole result as plain values, for JSON."""
        intake, classes = self.intake, self.intake.listing.classes
        sides = [side for side in NAMES if self.sides is not None and (self.sides == side).any()]
        counts = {side: self.counts(side) for side in sides}
        unusable = Counter(one.label for one in intake.bad)
        groups = intake.groups
        total = self.counts()
        return {
            "fingerprint": intake.fingerprint(),
            "images": len(intake.rows),
            "split": self.split,
            "classes": [
                {
                    "name": name,
                    "images": total[name],
                    **{side: counts[side][name] for side in sides},
                    "unusable": unusable[name],
                }
                for name in classes
            ],
            "imbalance_ratio": {
                name: _ratio(n_images) for name, n_images in (("all", total), *counts.items())
            },
            "sizes": _sizes(intake),
            "modes": dict(Counter(intake.facts.mode.tolist()).most_common()),
            "formats": dict(Counter(intake.facts.format.tolist()).most_common()),
            "image": {
                "size": self.survey.spec.size,
                "channels": self.survey.spec.channels,
                "why": self.survey.about,
            },
            "unusable": {
                "files": len(intake.bad),
                "reasons": reasons(intake.bad, most=None) if intake.bad else "",
            },
            "ignored": dict(sorted(intake.listing.ignored.items())),
            "duplicates": {"equal": self._twins(self.equal), "near": self._twins(self.near)},
            "groups": None if groups is None else self._groups(groups),
            "notes": list(intake.notes),
            "problems": [vars(problem) for problem in self.problems],
        }

    def named(self, row: int) -> dict[str, str]:
        """Id, class and side of an image."""
        intake = self.intake
        return {
            "id": intake.listing.ids[int(intake.rows[row])],
            "class": intake.listing.classes[intake.labels[row]],
            "side": "" if self.sides is None else str(self.sides[row]),
        }

    def _twins(self, twins: DuplicateGroups) -> dict[str, Any]:
        return {
            "groups": twins.groups,
            "extra_images": twins.extra,
            "across_splits": dict(twins.across_splits),
            "groups_of_several_classes": twins.mixed_classes,
            "examples": [[self.named(row) for row in group] for group in twins.examples],
        }

    def _groups(self, groups: NDArray[np.object_]) -> dict[str, int]:
        sizes = Counter(groups.tolist())
        return {
            "groups": len(sizes),
            "largest": max(sizes.values(), default=0),
            "on_several_sides": divided_groups(groups, rows_of(self.sides)),
        }


def inspect(
    listing: Listing, options: ImageOptions, split: SplitOptions | None = None, *,
    policy: Policy | None = None, progress: Progress = lambda done, total: None,
) -> Inspection:  # fmt: skip
    """Read every picture once and check the source as a run would; pictures are not stored.

    split: split options of an experiment; None: inspect only the source's own split. Bad files never raise.
    """
    rules = policy or Policy()
    listing = drop_small_classes(listing, rules.min_images)
    surveyed = survey(listing, options)
    intake = take_in(listing, options, None, found=surveyed, progress=progress)
    problems = list(_errors(intake))
    sides, split_kind = intake.splits, "official" if intake.splits is not None else "none"
    if not problems:
        # As a run would: with its default split where none is given, which is not shown then.
        options_of_split = split or SplitOptions()
        try:
            # First with duplicates, for the counts; then with the policy of a run, for the errors it would raise.
            keep_all = rules.model_copy(update={"duplicates": "keep"})
            partition = part(intake, options_of_split, keep_all, _stream(options_of_split))
            deduplicated = part(intake, options_of_split, rules, _stream(options_of_split))
            few = few_test_images(intake, deduplicated.rows["test"], deduplicated.kind)
            problems += [Problem("warning", text) for text in few]
            if split is not None:
                split_kind, sides = partition.kind, np.empty(len(intake.rows), object)
                for name, rows in partition.rows.items():
                    sides[rows] = name
        except UserError as error:
            problems.append(Problem("stop", str(error)))
    equal_ids = equal_groups(intake.facts.content)
    near_ids = near_groups(equal_ids, intake.facts.hashes, intake.facts.thumbs, intake.facts.tints)
    equal = _twins(equal_ids, intake.labels, sides, None)
    near = _twins(near_ids, intake.labels, sides, equal_ids)
    problems += _leaks(equal, near, intake, sides)
    problems += _warnings(intake, sides, equal)
    return Inspection(intake, surveyed, sides, split_kind, equal, near, tuple(problems))


def _stream(split: SplitOptions) -> np.random.Generator:
    return numpy_stream(split.seed, "split")


def rows_of(sides: Sides | None) -> dict[str, NDArray[np.int64]]:
    """Rows of train, val and test."""
    if sides is None:
        return {}
    return {name: np.flatnonzero(sides == name).astype(np.int64) for name in NAMES}


def _twins(
    groups: NDArray[np.int64], labels: NDArray[np.int64], sides: Sides | None,
    beyond: NDArray[np.int64] | None,
) -> DuplicateGroups:  # fmt: skip
    """Summarise groups of several images; with `beyond`, exclude duplicates already joined by these finer groups."""
    sizes = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
    is_multiple = sizes > 1
    extra = int((sizes[is_multiple] - 1).sum())
    if beyond is not None and len(groups):
        # Nearly equal: the group has images of several groups of equal ones.
        kinds = np.unique(np.stack([groups, beyond], 1), axis=0)
        is_multiple = np.bincount(kinds[:, 0], minlength=len(sizes)) > 1
        extra = int((np.bincount(kinds[:, 0], minlength=len(sizes))[is_multiple] - 1).sum())
    rows_in_groups = np.flatnonzero(is_multiple[groups]) if len(groups) else np.empty(0, np.int64)
    crossing = _crossing(groups, sides)
    if beyond is not None:
        equal = _crossing(beyond, sides)
        crossing = {what: n - equal[what] for what, n in crossing.items()}
    members: dict[int, list[int]] = {}
    for row in rows_in_groups:
        members.setdefault(int(groups[row]), []).append(int(row))
    mixed = [rows for rows in members.values() if len({int(labels[r]) for r in rows}) > 1]

    def sort_key(rows: list[int]) -> tuple[bool, bool, int]:
        within_one_side = sides is None or len({str(sides[r]) for r in rows}) < 2
        return within_one_side, len({int(labels[r]) for r in rows}) < 2, rows[0]

    shown = sorted(members.values(), key=sort_key)[:EXAMPLES]
    return DuplicateGroups(
        int(is_multiple.sum()),
        extra,
        crossing,
        len(mixed),
        tuple(tuple(r[:IN_GROUP]) for r in shown),
    )


def _crossing(groups: NDArray[np.int64], sides: Sides | None) -> dict[str, int]:
    """`val in train` → number of val images whose group has an image in train, and so on."""
    rows = rows_of(sides)
    counts = {}
    for late, early in (("val", "train"), ("test", "train"), ("test", "val")):
        if sides is not None and len(rows[late]) and len(rows[early]):
            counts[f"{late} in {early}"] = int(
                np.isin(groups[rows[late]], groups[rows[early]]).sum()
            )
    return counts


def _errors(intake: Intake) -> list[Problem]:
    """Errors that would stop a run, from the checks that the run uses."""
    problems = [f"cannot read {lost}" for lost in intake.listing.lost]
    n, bad = len(intake.rows), len(intake.bad)
    if bad > MOST_BAD * max(1, n + bad):
        problems.append(
            f"{bad:,} of {n + bad:,} files cannot be used, more than {100 * MOST_BAD:g}%: {reasons(intake.bad)}"
        )
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_names(intake.listing.classes),
        lambda: check_classes(intake),
    )
    for check in checks:
        try:
            check()
        except UserError as error:
            problems.append(str(error))
    if len(intake.listing.classes) < 2:
        problems.append("a comparison needs at least 2 classes")
    return [Problem("stop", text) for text in problems]


def _leaks(
    equal: DuplicateGroups, near: DuplicateGroups, intake: Intake, sides: Sides | None
) -> list[Problem]:
    messages = []
    for pair, n in equal.across_splits.items():
        late, early = pair.split(" in ")
        if n:
            messages.append(
                f"{several(n, 'image')} of {late} also in {early}; a run removes them from {early}"
            )
    for pair, n in near.across_splits.items():
        late, early = pair.split(" in ")
        if n:
            messages.append(
                f"{several(n, 'image')} of {late} nearly equal to one in {early}: check them, and "
                "set duplicates: near to remove them"
            )
    n_divided = divided_groups(intake.groups, rows_of(sides))
    if n_divided:
        messages.append(
            f"{several(n_divided, 'group')} divided between train, val and test; set split.kind: grouped to keep each in one"
        )
    return [Problem("leak", text) for text in messages]


def _warnings(intake: Intake, sides: Sides | None, equal: DuplicateGroups) -> list[Problem]:
    messages = []
    if intake.bad:
        messages.append(f"{several(len(intake.bad), 'file')} cannot be used: {reasons(intake.bad)}")
    if equal.mixed_classes:
        messages.append(f"{several(equal.mixed_classes, 'image')} under several classes")
    have = Counter(intake.labels.tolist())
    small = [name for c, name in enumerate(intake.listing.classes) if 0 < have[c] < TINY]
    if small:
        names = ", ".join(repr(name) for name in small[:5]) + (" ..." if len(small) > 5 else "")
        messages.append(
            f"{several(len(small), 'class')} with fewer than {TINY} images, too few for a precise test score: {names}"
        )
    return [Problem("warning", text) for text in messages]


def _sizes(intake: Intake) -> dict[str, Any]:
    width, height = intake.facts.width, intake.facts.height
    if not len(width):
        return {}
    common = Counter(zip(width.tolist(), height.tolist(), strict=True)).most_common(5)
    return {
        "width": {"min": int(width.min()), "median": float(np.median(width)), "max": int(width.max())},
        "height": {
            "min": int(height.min()), "median": float(np.median(height)), "max": int(height.max()),
        },
        "most_common": [[w, h, n] for (w, h), n in common],
    }  # fmt: skip


def _ratio(counts: Mapping[str, int]) -> float | None:
    """Largest class size divided by smallest; None if a class is empty."""
    ratio = imbalance_ratio(dict(enumerate(counts.values()))) if counts else float("inf")
    return ratio if np.isfinite(ratio) else None


def pictures(
    inspection: Inspection, rows: Iterable[int], options: ImageOptions
) -> dict[int, NDArray[np.uint8]]:
    """Read `rows` in one pass → row → uint8 (C,SIDE,SIDE), padded; black if a picture cannot be read again."""
    intake = inspection.intake
    spec = ImageSpec(SIDE, inspection.survey.spec.channels)
    unique_rows = np.array(sorted(set(rows)), np.int64)
    images = {}
    for row, blob in zip(unique_rows, intake.listing.fetch(intake.rows[unique_rows]), strict=True):
        image = picture(blob, spec, options.window)
        images[int(row)] = np.zeros(spec.shape, np.uint8) if image is None else image
    return images


def sheet_rows(inspection: Inspection) -> dict[str, list[int]]:
    """Evenly spaced rows of each of the first SHEETS classes, for contact sheets."""
    labels = inspection.intake.labels
    sheets = {}
    for label, name in list(enumerate(inspection.intake.listing.classes))[:SHEETS]:
        class_rows = np.flatnonzero(labels == label)
        index = np.unique(
            np.linspace(0, len(class_rows) - 1, min(SHOWN, len(class_rows))).astype(int)
        )
        sheets[name] = [int(row) for row in class_rows[index]]
    return sheets
