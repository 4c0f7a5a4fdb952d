"""Inspect a source: class counts, image sizes, duplicates, leaks, and what would stop a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from augpipe.core.counts import Counts, counts_of, require_classes
from augpipe.core.csv_files import spreadsheet_safe
from augpipe.core.errors import UserError, several
from augpipe.core.image_spec import ImageSpec
from augpipe.core.options import SHIFT, ImageOptions
from augpipe.core.seeds import numpy_stream
from augpipe.data.clean import check_classes, few_test_images, part, torn_notes
from augpipe.data.copied_classes import check_copied_classes
from augpipe.data.duplicate_groups import DuplicateGroups, Sides, duplicate_groups, rows_of
from augpipe.data.duplicates import equal_groups, near_groups
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.intake import Intake, Progress, picture, take_in
from augpipe.data.listing_check import check_names, divided_groups, drop_small_classes
from augpipe.data.near_copies import NearCopies
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.quarantine import MEND, MOST_BAD, quarantine, reasons
from augpipe.data.shift import SecondSet
from augpipe.data.sources._listing import Listing, evenly
from augpipe.data.split_check import NAMES
from augpipe.data.survey import Survey, survey

SHOWN: Final = 16  # images of a class on its contact sheet
SHEETS: Final = 60  # classes with a contact sheet
SIDE: Final = 56  # pixels of an image on a sheet
NEAR: Final = 0.005  # of the images are near copies: fewer are chance
TINY: Final = 10  # classes with fewer images get a warning: their test score is imprecise


@dataclass(frozen=True)
class Problem:
    """A finding: an error that stops a run, a leak between splits, or a warning."""

    severity: Literal["stop", "leak", "warning"]
    text: str


@dataclass(frozen=True)
class Inspection:
    """Result of `inspect`. sides: train, val or test of each image; None if unknown.

    train: images of each class in train after duplicates are removed; None if there is no split. shift: the second test
    set; None without one, or if a run would refuse it.
    """

    intake: Intake
    survey: Survey
    sides: Sides | None
    split: str
    equal: DuplicateGroups
    near: DuplicateGroups
    problems: tuple[Problem, ...]
    train: Counts | None = None
    shift: SecondSet | None = None

    def counts(self, side: str | None = None) -> dict[str, int]:
        """Number of images per class, in one of train, val and test or in all."""
        labels = self.intake.labels
        if side is not None:
            labels = labels[self.sides == side] if self.sides is not None else labels[:0]
        classes = self.intake.listing.classes
        return dict(zip(classes, counts_of(labels, len(classes)).values(), strict=True))

    def facts(self) -> dict[str, Any]:
        """The whole result as plain values, for JSON."""
        intake, classes = self.intake, self.intake.listing.classes
        sides = [side for side in NAMES if self.sides is not None and (self.sides == side).any()]
        counts = {side: self.counts(side) for side in sides}
        unusable = Counter(one.label for one in intake.bad)
        groups = intake.groups
        total, shift = self.counts(), None if self.shift is None else self.shift.counts()
        return {
            "fingerprint": intake.fingerprint(),
            "images": len(intake.rows),
            "split": self.split,
            "classes": [
                {
                    "name": name,
                    "images": total[name],
                    **{side: counts[side][name] for side in sides},
                    **({} if shift is None else {SHIFT: shift[name]}),
                    "unusable": unusable[name],
                }
                for name in classes
            ],
            "imbalance_ratio": {name: _ratio(n_images) for name, n_images in (("all", total), *counts.items())},
            "sizes": _sizes(intake),
            "modes": dict(Counter(intake.facts.mode.tolist()).most_common()),
            "formats": dict(Counter(intake.facts.format.tolist()).most_common()),
            "image": {"size": self.survey.spec.size, "channels": self.survey.spec.channels, "why": self.survey.about},
            "unusable": {"files": len(intake.bad), "reasons": reasons(intake.bad, most=None) if intake.bad else ""},
            "ignored": dict(sorted(intake.listing.ignored.items())),
            "duplicates": {"equal": self._twins(self.equal), "near": self._twins(self.near)},
            "groups": None if groups is None else self._groups(groups),
            "notes": [*intake.notes, *(() if self.shift is None else self.shift.notes)],
            "problems": [vars(problem) for problem in self.problems],
            "escaped": {"quarantine.csv": spreadsheet_safe(self.quarantine())[1]},
        }

    def quarantine(self) -> pd.DataFrame:
        """The table of `quarantine.csv`: files that cannot be used, and copies in the second test set."""
        if self.shift is None:
            return quarantine(self.intake.bad, {})
        return quarantine((*self.intake.bad, *self.shift.intake.bad), self.shift.removed)

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
    listing: Listing,
    options: ImageOptions,
    split: SplitOptions | None = None,
    *,
    policy: Policy | None = None,
    progress: Progress = lambda done, total: None,
) -> Inspection:
    """Read every picture once and check the source as a run would; pictures are not stored.

    split: split options of an experiment; None: inspect only the source's own split. Bad files never raise.
    """
    rules = policy or Policy()
    listing = drop_small_classes(listing, rules.min_images)
    surveyed = survey(listing, options)
    intake = take_in(listing, options, None, found=surveyed, progress=progress)
    problems = list(_errors(intake, rules))
    sides, split_kind = intake.splits, "official" if intake.splits is not None else "none"
    near_copies: NearCopies | None = None
    train: Counts | None = None
    if not problems:
        # As a run would: with its default split where none is given, which is not shown then.
        options_of_split = split or SplitOptions()
        try:
            # First with duplicates, for the counts; then with the policy of a run, for the errors it would raise.
            keep_all = rules.model_copy(update={"duplicates": "keep"})
            partition = part(intake, options_of_split, keep_all, _stream(options_of_split))
            deduplicated = part(intake, options_of_split, rules, _stream(options_of_split))
            near_copies = deduplicated.near
            in_train = intake.labels[deduplicated.rows["train"]]
            train = counts_of(in_train, len(listing.classes))
            few = few_test_images(intake, deduplicated.rows["test"], deduplicated.kind)
            small = () if near_copies is None else near_copies.small_notes(partition.rows)
            problems += [Problem("warning", text) for text in (*few, *small)]
            problems += [Problem("leak", text) for text in torn_notes(partition.torn, options_of_split)]
            if split is not None:
                split_kind, sides = partition.kind, np.empty(len(intake.rows), object)
                for name, rows in partition.rows.items():
                    sides[rows] = name
        except UserError as error:
            problems.append(Problem("stop", str(error)))
    equal_ids = equal_groups(intake.facts.content)
    near_ids = near_copies.groups if near_copies is not None else _near_groups(intake, equal_ids)
    equal = duplicate_groups(equal_ids, intake.labels, sides, None)
    near = duplicate_groups(near_ids, intake.labels, sides, equal_ids)
    problems += _leaks(equal, near, near_copies)
    if sides is None:
        problems += _copies(equal, near, len(intake.rows))
    problems += _warnings(intake, equal)
    return Inspection(intake, surveyed, sides, split_kind, equal, near, tuple(problems), train)


def with_mistakes(inspection: Inspection, texts: Iterable[str], warnings: Iterable[str] = ()) -> Inspection:
    """The inspection with more findings: those that stop a run before all others, and warnings after them."""
    reported = {problem.text for problem in inspection.problems}
    more = tuple(Problem("stop", text) for text in texts if text not in reported)
    last = tuple(Problem("warning", text) for text in warnings)
    return replace(inspection, problems=(*more, *inspection.problems, *last))


def _near_groups(intake: Intake, equal: NDArray[np.int64]) -> NDArray[np.int64]:
    facts = intake.facts
    return near_groups(equal, facts.hashes, facts.small_thumbs(), facts.tints)


def _stream(split: SplitOptions) -> np.random.Generator:
    return numpy_stream(split.seed, "split")


def _errors(intake: Intake, rules: Policy) -> list[Problem]:
    """Errors that would stop a run, from the checks that the run uses."""
    problems = [f"cannot read {lost}" for lost in intake.listing.lost]
    n, bad = len(intake.rows), len(intake.bad)
    if bad > MOST_BAD * max(1, n + bad):
        problems.append(
            f"{bad:,} of {n + bad:,} files cannot be used, more than {100 * MOST_BAD:g}%: {reasons(intake.bad)}; {MEND}"
        )
    checks: tuple[Callable[[], None], ...] = (
        lambda: require_classes(intake.listing.classes),
        lambda: check_names(intake.listing.classes),
        lambda: check_classes(intake, rules.min_images),
        lambda: check_copied_classes(intake, rules),
    )
    for check in checks:
        try:
            check()
        except UserError as error:
            problems.append(str(error))
    return [Problem("stop", text) for text in problems]


def _leaks(equal: DuplicateGroups, near: DuplicateGroups, copies: NearCopies | None) -> list[Problem]:
    messages = []
    for pair, n in equal.across_splits.items():
        late, early = pair.split(" in ")
        if n:
            messages.append(f"{several(n, 'image')} of {late} also in {early}; a run removes them from {early}")
    searched = (
        ""
        if copies is None
        else f" ({copies.searched['test']:,} of test were searched for mirrored and shifted copies)"
    )
    for pair, n in near.across_splits.items():
        late, early = pair.split(" in ")
        if n:
            messages.append(
                f"{several(n, 'image')} of {late} nearly equal to one in {early}{searched if late == 'test' else ''}: "
                "check them, and set duplicates: near to remove them"
            )
    return [Problem("leak", text) for text in messages]


def _copies(equal: DuplicateGroups, near: DuplicateGroups, n: int) -> list[Problem]:
    """Warnings of copies where the split that would divide them is not known yet."""
    messages = []
    if equal.extra:
        messages.append(
            f"{several(equal.extra, 'image')} of {n:,} equal to another, pixel by pixel; a run removes those from "
            "train and val that its split divides"
        )
    if near.extra > NEAR * n:
        messages.append(
            f"{several(near.extra, 'image')} of {n:,} nearly equal to another; a run counts those that its split "
            "divides, and duplicates: near removes them"
        )
    return [Problem("warning", text) for text in messages]


def _warnings(intake: Intake, equal: DuplicateGroups) -> list[Problem]:
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
        "height": {"min": int(height.min()), "median": float(np.median(height)), "max": int(height.max())},
        "most_common": [[w, h, n] for (w, h), n in common],
    }


def _ratio(counts: Mapping[str, int]) -> float | None:
    """Largest class size divided by smallest; None if a class is empty."""
    ratio = imbalance_ratio(dict(enumerate(counts.values()))) if counts else float("inf")
    return ratio if np.isfinite(ratio) else None


def pictures(inspection: Inspection, rows: Iterable[int], options: ImageOptions) -> dict[int, NDArray[np.uint8]]:
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
        sheets[name] = class_rows[evenly(len(class_rows), SHOWN)].tolist()
    return sheets
