"""Images that were made elsewhere, against the experiment's: which of them show an image of val or test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from augpipe.core.errors import UserError, several
from augpipe.core.images import pixel_digests
from augpipe.data.facts import Facts
from augpipe.data.intake import Intake
from augpipe.data.near_copies import near_copies
from augpipe.data.sources._listing import evenly
from augpipe.data.sources._pictures import AS_REAL

# Near copies of val and test are more than chance below this probability.
CHANCE: Final = 0.001
SEARCHED: Final = 1000  # images of train by which chance is estimated
HELD_OUT: Final = ("val", "test")
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ExternalImages:
    """Rows of `intake` that a run may draw, and those left out: id → class, reason."""

    intake: Intake
    rows: Rows
    removed: Mapping[str, tuple[str, str]]

    def notes(self, generator: str) -> tuple[str, ...]:
        """Messages on the images of a generator."""
        lines = [f"{generator}: {note.removesuffix(AS_REAL)}" for note in self.intake.notes]
        if self.intake.bad:
            lines.append(
                f"{several(len(self.intake.bad), 'file')} of {generator} that cannot be used; quarantine.csv says why"
            )
        if self.removed:
            lines.append(
                f"{several(len(self.removed), 'image')} of {generator} nearly equal to one of val or test, which is no "
                "more than chance: left out"
            )
        return tuple(lines)


@dataclass(frozen=True)
class Known:
    """The experiment's images (N). digests: uint64 (N,2), of their pixels. sides: rows of its train, val and test."""

    ids: Sequence[str]
    facts: Facts
    digests: NDArray[np.uint64]
    sides: Mapping[str, Rows]

    def with_test(self, ids: Sequence[str], facts: Facts, digests: NDArray[np.uint64]) -> Known:
        """With further images of test, such as those of the second test set."""
        n = len(self.ids)
        test = np.concatenate([self.sides["test"], np.arange(n, n + len(ids))])
        return Known(
            [*self.ids, *ids],
            _joined(self.facts, facts),
            np.concatenate([self.digests, digests]),
            {**self.sides, "test": test},
        )


def group_notes(
    generator: str, groups: NDArray[np.object_] | None, known: NDArray[np.object_] | None, sides: Mapping[str, Rows]
) -> tuple[str, ...]:
    """A note if the images have groups and the experiment has none; UserError if an image is of a group of val or test.

    groups: of the images (N,); known: of the experiment's (M,); "" for none. sides: rows of its train, val and test. A
    group that train has too may be divided.
    """
    if groups is None:
        return ()
    if known is None:
        return (
            f"{generator}: its source has groups and the experiment none: whether its images show patients of val or "
            "test is not known",
        )
    held_out = known[np.concatenate([sides[side] for side in HELD_OUT])]
    only = set(held_out.tolist()) - set(known[sides["train"]].tolist()) - {""}
    shared = [group for group in groups.tolist() if group in only]
    if shared:
        raise UserError(
            f"{several(len(shared), 'image')} of generators.{generator}.source of a group of val or test, such as "
            f"{shared[0]!r}: a comparison with them would be no evidence; leave out the images of these groups, or the "
            "column of groups if its names mean something else there"
        )
    return ()


def known_images(intake: Intake, sides: Mapping[str, Rows]) -> Known:
    """The images of the experiment's source; sides: rows of its train, val and test."""
    return Known(intake.ids, intake.facts, pixel_digests(_pixels(intake)), sides)


def without_copies(other: Intake, known: Known) -> ExternalImages:
    """The images of another set without equal and near copies of images of val and test."""
    n, rows = len(known.ids), np.arange(len(other.rows))
    held_out = np.concatenate([known.sides[name] for name in HELD_OUT])
    equal = np.isin(_keys(pixel_digests(_pixels(other))), _keys(known.digests[held_out]))
    searched = {"train": held_out, "val": held_out[:0], "test": n + rows}
    groups = near_copies(_joined(known.facts, other.facts), searched, complete=True).groups
    copies = equal | np.isin(groups[n:], groups[held_out])
    ids, names = other.ids, other.listing.classes
    removed = {
        ids[row]: (names[other.labels[row]], "removed: a copy of an image of val or test")
        for row in np.flatnonzero(copies).tolist()
    }
    return ExternalImages(other, rows[~copies], removed)


def without_held_out(generator: str, external: Intake, known: Known) -> ExternalImages:
    """The images of a generator without near copies of val and test.

    UserError if an image equals one of val or test and none of train, or if more near copies of these are there than
    train's number of them makes likely.
    """
    _refuse_equal(generator, external, known)
    sides, n, rows = known.sides, len(known.ids), np.arange(len(external.rows))
    held_out = np.concatenate([sides[name] for name in HELD_OUT])
    sample = sides["train"][evenly(len(sides["train"]), SEARCHED)]
    searched = {"train": held_out, "val": held_out[:0], "test": np.concatenate([sample, n + rows])}
    groups = near_copies(_joined(known.facts, external.facts), searched, complete=True).groups
    of_held_out, of_train = np.unique(groups[held_out]), np.unique(groups[sides["train"]])
    near = np.isin(groups[n:], np.setdiff1d(of_held_out, of_train))
    # As often as this, an image of train is nearly equal to one of val or test.
    likely = (1 + int(np.isin(groups[sample], of_held_out).sum())) / (2 + len(sample))
    if near.any() and binom.sf(int(near.sum()) - 1, len(rows), likely) < CHANCE:
        row = int(np.flatnonzero(near)[0])
        original = int(held_out[groups[held_out] == groups[n + row]][0])
        raise UserError(
            f"{several(int(near.sum()), 'image')} of {several(len(rows), 'image')} of generators.{generator}.source "
            f"nearly equal to one of val or test, such as {external.ids[row]!r} to {known.ids[original]!r}: whoever "
            "made them had seen these; a comparison with them would be no evidence"
        )
    ids, names = external.ids, external.listing.classes
    removed = {
        ids[row]: (names[external.labels[row]], "removed: nearly equal to an image of val or test")
        for row in np.flatnonzero(near).tolist()
    }
    return ExternalImages(external, rows[~near], removed)


def _refuse_equal(generator: str, external: Intake, known: Known) -> None:
    """UserError if an image has the pixels of one of val or test, but of none of train, and is not uniform."""
    ours, theirs = _keys(pixel_digests(_pixels(external))), _keys(known.digests)
    held_out = np.concatenate([known.sides[side] for side in HELD_OUT])
    only = np.setdiff1d(theirs[held_out], theirs[known.sides["train"]])
    copies = [row for row in np.flatnonzero(np.isin(ours, only)).tolist() if _varied(external, row)]
    if copies:
        original = int(held_out[theirs[held_out] == ours[copies[0]]][0])
        raise UserError(
            f"{several(len(copies), 'image')} of generators.{generator}.source equal to one of val or test, such as "
            f"{external.ids[copies[0]]!r} to {known.ids[original]!r}: a comparison with them would be no evidence; "
            "leave copies of your images out"
        )


def _varied(intake: Intake, row: int) -> bool:
    return bool(np.ptp(_pixels(intake)[row], axis=(1, 2)).any())


def _pixels(intake: Intake) -> NDArray[np.uint8]:
    if intake.images is None:
        raise ValueError("the images were not stored: call take_in with a folder")
    return intake.images


def _keys(digests: NDArray[np.uint64]) -> NDArray[np.void]:
    """Digests (N,2) as one value each."""
    return np.ascontiguousarray(digests).view("V16").reshape(-1)


def _joined(one: Facts, other: Facts) -> Facts:
    return Facts(**{f.name: np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(Facts)})
