"""A look at a source: how much of what, in which shape, what is there twice, and what would stop a run."""

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
from augpipe.data.clean import check_classes, check_names, part, torn_groups, without_small
from augpipe.data.duplicates import equal_groups, near_groups
from augpipe.data.imbalance import imbalance_ratio
from augpipe.data.intake import Intake, Progress, Survey, picture, survey, take_in
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.quarantine import MOST_BAD, reasons
from augpipe.data.sources._listing import Listing
from augpipe.data.split import NAMES

EXAMPLES: Final = 12  # groups of duplicates that are shown
SHOWN: Final = 16  # images of a class on its contact sheet
SHEETS: Final = 60  # classes with a contact sheet
SIDE: Final = 56  # pixels of an image on a sheet
IN_GROUP: Final = 6  # images of a group that are shown
TINY: Final = 10  # images of a class from which on its test says little
Sides = NDArray[np.object_]


@dataclass(frozen=True)
class Problem:
    """Something that stops a run, leaks from train to test, or is worth knowing."""

    severity: Literal["stop", "leak", "warning"]
    text: str


@dataclass(frozen=True)
class Twins:
    """Images that are there more than once.

    extra: images beyond the first of each group. crossing: `val in train` → images of val that are in train
    too. torn: groups of several classes. examples: rows of some groups, those that cross first.
    """

    groups: int
    extra: int
    crossing: Mapping[str, int]
    torn: int
    examples: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Inspection:
    """What a look at a source finds. sides: train, val or test of each image, None where none is known."""

    intake: Intake
    survey: Survey
    sides: Sides | None
    split: str
    equal: Twins
    near: Twins
    problems: tuple[Problem, ...]

    def counts(self, side: str | None = None) -> dict[str, int]:
        """Images of each class, on one side or all."""
        labels = self.intake.labels
        if side is not None:
            labels = labels[self.sides == side] if self.sides is not None else labels[:0]
        classes = self.intake.listing.classes
        found = np.bincount(labels, minlength=len(classes))
        return dict(zip(classes, (int(n) for n in found), strict=True))

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        taken, classes = self.intake, self.intake.listing.classes
        known = [side for side in NAMES if self.sides is not None and (self.sides == side).any()]
        per_side = {side: self.counts(side) for side in known}
        unusable = Counter(one.label for one in taken.bad)
        groups = taken.groups
        whole = self.counts()
        return {
            "fingerprint": taken.fingerprint(),
            "images": len(taken.rows),
            "split": self.split,
            "classes": [
                {
                    "name": name,
                    "images": whole[name],
                    **{side: per_side[side][name] for side in known},
                    "unusable": unusable[name],
                }
                for name in classes
            ],
            "imbalance_ratio": {
                name: _ratio(counts) for name, counts in (("all", whole), *per_side.items())
            },
            "sizes": _sizes(taken),
            "modes": dict(Counter(taken.facts.mode.tolist()).most_common()),
            "formats": dict(Counter(taken.facts.format.tolist()).most_common()),
            "image": {
                "size": self.survey.spec.size,
                "channels": self.survey.spec.channels,
                "why": self.survey.about,
            },
            "unusable": {
                "files": len(taken.bad),
                "reasons": reasons(taken.bad, most=None) if taken.bad else "",
            },
            "ignored": dict(sorted(taken.listing.ignored.items())),
            "duplicates": {"equal": self._twins(self.equal), "near": self._twins(self.near)},
            "groups": None if groups is None else self._groups(groups),
            "notes": list(taken.notes),
            "problems": [vars(problem) for problem in self.problems],
        }

    def named(self, row: int) -> dict[str, str]:
        """An image's id, class and side."""
        taken = self.intake
        return {
            "id": taken.listing.ids[int(taken.rows[row])],
            "class": taken.listing.classes[taken.labels[row]],
            "side": "" if self.sides is None else str(self.sides[row]),
        }

    def _twins(self, twins: Twins) -> dict[str, Any]:
        return {
            "groups": twins.groups,
            "extra_images": twins.extra,
            "across_splits": dict(twins.crossing),
            "groups_of_several_classes": twins.torn,
            "examples": [[self.named(row) for row in group] for group in twins.examples],
        }

    def _groups(self, groups: NDArray[np.object_]) -> dict[str, int]:
        sizes = Counter(groups.tolist())
        return {
            "groups": len(sizes),
            "largest": max(sizes.values(), default=0),
            "on_several_sides": torn_groups(groups, rows_of(self.sides)),
        }


def inspect(
    listing: Listing, options: ImageOptions, split: SplitOptions | None = None, *,
    policy: Policy | None = None, progress: Progress = lambda done, total: None,
) -> Inspection:  # fmt: skip
    """Look at every picture once; nothing is kept of it but facts.

    split: the one of an experiment, else only the source's own is looked at. Never stops at bad files.
    """
    rules = policy or Policy()
    listing = without_small(listing, rules.min_images)
    found = survey(listing, options)
    taken = take_in(listing, options, None, found=found, progress=progress)
    problems = list(_stopping(taken))
    sides, kind = taken.splits, "official" if taken.splits is not None else "none"
    if split is not None and not problems:
        try:
            # As it stands, twins and all; then as a run would leave it, for what that may refuse.
            keep = rules.model_copy(update={"duplicates": "keep"})
            parted = part(taken, split, keep, numpy_stream(split.seed, "split"))
            part(taken, split, rules, numpy_stream(split.seed, "split"))
            kind, sides = parted.kind, np.empty(len(taken.rows), object)
            for name, rows in parted.rows.items():
                sides[rows] = name
        except UserError as error:
            problems.append(Problem("stop", str(error)))
    elif sides is not None and not problems:
        problems += _refusals(taken, SplitOptions(), rules)
    same = equal_groups(taken.facts.content)
    joined = near_groups(same, taken.facts.hashes, taken.facts.thumbs, taken.facts.tints)
    equal = _twins(same, taken.labels, sides, None)
    near = _twins(joined, taken.labels, sides, same)
    problems += _leaks(equal, near, taken, sides)
    problems += _warnings(taken, sides, equal)
    return Inspection(taken, found, sides, kind, equal, near, tuple(problems))


def _refusals(taken: Intake, split: SplitOptions, rules: Policy) -> list[Problem]:
    """What a run with the source's own split would refuse."""
    try:
        part(taken, split, rules, numpy_stream(split.seed, "split"))
    except UserError as error:
        return [Problem("stop", str(error))]
    return []


def rows_of(sides: Sides | None) -> dict[str, NDArray[np.int64]]:
    """Rows of each side."""
    if sides is None:
        return {}
    return {name: np.flatnonzero(sides == name).astype(np.int64) for name in NAMES}


def _twins(
    groups: NDArray[np.int64], labels: NDArray[np.int64], sides: Sides | None,
    beyond: NDArray[np.int64] | None,
) -> Twins:  # fmt: skip
    """Groups of several images; with `beyond`, only those that these finer groups do not already join."""
    sizes = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
    several = sizes > 1
    extra = int((sizes[several] - 1).sum())
    if beyond is not None and len(groups):
        # Near: the group holds images that are not all equal.
        kinds = np.unique(np.stack([groups, beyond], 1), axis=0)
        several = np.bincount(kinds[:, 0], minlength=len(sizes)) > 1
        extra = int((np.bincount(kinds[:, 0], minlength=len(sizes))[several] - 1).sum())
    inside = np.flatnonzero(several[groups]) if len(groups) else np.empty(0, np.int64)
    crossing = _crossing(groups, sides)
    if beyond is not None:
        equal = _crossing(beyond, sides)
        crossing = {what: n - equal[what] for what, n in crossing.items()}
    members: dict[int, list[int]] = {}
    for row in inside:
        members.setdefault(int(groups[row]), []).append(int(row))
    torn = [rows for rows in members.values() if len({int(labels[r]) for r in rows}) > 1]

    def first(rows: list[int]) -> tuple[bool, bool, int]:
        over = sides is None or len({str(sides[r]) for r in rows}) < 2
        return over, len({int(labels[r]) for r in rows}) < 2, rows[0]

    shown = sorted(members.values(), key=first)[:EXAMPLES]
    return Twins(
        int(several.sum()), extra, crossing, len(torn), tuple(tuple(r[:IN_GROUP]) for r in shown)
    )


def _crossing(groups: NDArray[np.int64], sides: Sides | None) -> dict[str, int]:
    """`val in train`: images of val whose group has one in train, and so on."""
    rows = rows_of(sides)
    told = {}
    for late, early in (("val", "train"), ("test", "train"), ("test", "val")):
        if sides is not None and len(rows[late]) and len(rows[early]):
            told[f"{late} in {early}"] = int(np.isin(groups[rows[late]], groups[rows[early]]).sum())
    return told


def _stopping(taken: Intake) -> list[Problem]:
    """What a run would refuse, by the run's own checks."""
    problems = [f"cannot enter {lost}" for lost in taken.listing.lost]
    n, bad = len(taken.rows), len(taken.bad)
    if bad > MOST_BAD * max(1, n + bad):
        problems.append(
            f"{bad:,} of {n + bad:,} files cannot be used, more than {100 * MOST_BAD:g}%: {reasons(taken.bad)}"
        )
    checks: tuple[Callable[[], None], ...] = (
        lambda: check_names(taken.listing.classes),
        lambda: check_classes(taken),
    )
    for check in checks:
        try:
            check()
        except UserError as error:
            problems.append(str(error))
    if len(taken.listing.classes) < 2:
        problems.append("a comparison needs at least 2 classes")
    return [Problem("stop", text) for text in problems]


def _leaks(equal: Twins, near: Twins, taken: Intake, sides: Sides | None) -> list[Problem]:
    found = []
    for what, n in equal.crossing.items():
        late, early = what.split(" in ")
        if n:
            found.append(
                f"{several(n, 'image')} of {late} also in {early}; a run takes them out of {early}"
            )
    for what, n in near.crossing.items():
        late, early = what.split(" in ")
        if n:
            found.append(
                f"{several(n, 'image')} of {late} nearly equal to one in {early}: look at them; "
                "duplicates: near takes them out"
            )
    torn = torn_groups(taken.groups, rows_of(sides))
    if torn:
        found.append(
            f"{several(torn, 'group')} on several sides; split.kind: grouped keeps each on one"
        )
    return [Problem("leak", text) for text in found]


def _warnings(taken: Intake, sides: Sides | None, equal: Twins) -> list[Problem]:
    found = []
    if taken.bad:
        found.append(f"{several(len(taken.bad), 'file')} that cannot be used: {reasons(taken.bad)}")
    if equal.torn:
        found.append(f"{several(equal.torn, 'image')} under several classes")
    have = Counter(taken.labels.tolist())
    few = [name for c, name in enumerate(taken.listing.classes) if 0 < have[c] < TINY]
    if few:
        some = ", ".join(repr(name) for name in few[:5]) + (" ..." if len(few) > 5 else "")
        found.append(
            f"{several(len(few), 'class')} of fewer than {TINY} images, too few for a test to say much: {some}"
        )
    return [Problem("warning", text) for text in found]


def _sizes(taken: Intake) -> dict[str, Any]:
    width, height = taken.facts.width, taken.facts.height
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
    """Largest class over smallest; None where a class is empty."""
    ratio = imbalance_ratio(dict(enumerate(counts.values()))) if counts else float("inf")
    return ratio if np.isfinite(ratio) else None


def pictures(
    found: Inspection, rows: Iterable[int], options: ImageOptions
) -> dict[int, NDArray[np.uint8]]:
    """Row → uint8 (C,SIDE,SIDE), fitted; all read in one pass; black where one cannot be read again."""
    taken = found.intake
    spec = ImageSpec(SIDE, found.survey.spec.channels)
    own = np.array(sorted(set(rows)), np.int64)
    images = {}
    for row, blob in zip(own, taken.listing.fetch(taken.rows[own]), strict=True):
        one = picture(blob, spec, options.window)
        images[int(row)] = np.zeros(spec.shape, np.uint8) if one is None else one
    return images


def sheet_rows(found: Inspection) -> dict[str, list[int]]:
    """Rows of each class for its contact sheet, spread evenly over the class; the first SHEETS classes."""
    labels = found.intake.labels
    sheets = {}
    for label, name in list(enumerate(found.intake.listing.classes))[:SHEETS]:
        own = np.flatnonzero(labels == label)
        at = np.unique(np.linspace(0, len(own) - 1, min(SHOWN, len(own))).astype(int))
        sheets[name] = [int(row) for row in own[at]]
    return sheets
