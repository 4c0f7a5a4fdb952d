"""Classes that are copies of others: every picture of theirs is also in another class."""

from __future__ import annotations

from typing import Final

import numpy as np

from augpipe.core.errors import UserError, choices
from augpipe.data.duplicates import equal_groups
from augpipe.data.intake import Intake
from augpipe.data.options import Policy
from augpipe.data.sources._top_folders import exclude, folder_pattern

LEAST: Final = 5  # different pictures of a class below which an equal one may be chance


def check_copied_classes(intake: Intake, policy: Policy) -> None:
    """UserError for a class all of whose pictures are also in other classes, as the folder of a copy or of previews.

    `duplicates: keep` skips this. Of classes that are copies of each other, the one that is in most others is named,
    then the one with the longest name.
    """
    if policy.duplicates == "keep" or not len(intake.rows):
        return
    labels, classes = intake.labels, intake.listing.classes
    pairs = np.unique(np.stack([equal_groups(intake.facts.content), labels], 1), axis=0)
    in_several = np.bincount(pairs[:, 0])[pairs[:, 0]] > 1
    copies = []
    for label in range(len(classes)):
        inside = pairs[:, 1] == label
        if inside.sum() >= LEAST and in_several[inside].all():
            equal = np.isin(pairs[:, 0], pairs[inside, 0]) & ~inside
            copies.append((sorted(set(pairs[equal, 1].tolist())), classes[label]))
    if not copies:
        return
    others, name = max(copies, key=lambda copy: (len(copy[0]), len(copy[1])))
    raise UserError(
        f"every picture of the class {name!r} is also in {choices(repr(classes[c]) for c in others[:5])}: if it is a "
        f"copy, leave it out (folders and archives: {exclude([folder_pattern(name)])}); set duplicates: keep if "
        "pictures have several classes"
    )
