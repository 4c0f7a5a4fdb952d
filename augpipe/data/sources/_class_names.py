"""Names of files that begin with the class: `cat.1.jpg`, `american_bulldog_12.jpg`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from augpipe.core.errors import UserError
from augpipe.data.sources._listing import SPLIT_NAMES, evenly
from augpipe.data.sources._single_folder import numbered_names_hint
from augpipe.data.sources._template import Layout, Place

WORD: Final = re.compile(r"[^\W\d_]+([ ._-]).")  # a class and a sign at the beginning of a file's name
LOOKED_AT: Final = 500  # names
MOSTLY: Final = 0.8  # of them begin so
FEWEST: Final = 2  # classes, and pictures of one on average


def end_of_names(names: Sequence[str]) -> str:
    """The end of a layout of files whose names begin with the class, `{label-}.*`; "" if they do not seem to."""
    sample = [names[row] for row in evenly(len(names), LOOKED_AT)]
    signs = [match[1] for name in sample if (match := WORD.match(name))]
    if len(signs) < MOSTLY * len(sample) or not signs:
        return ""
    end = _end(sample, max(signs, key=signs.count))
    labels = [place.label for name in sample if (place := _place(end, name))]
    different = len(set(labels))
    enough = len(labels) >= MOSTLY * len(sample) and FEWEST <= different <= len(labels) / FEWEST
    return end if enough else ""


def names_hint(paths: Sequence[str]) -> str:
    """`; ` and the layout of files in one folder whose names begin with the class; "" if they do not seem to."""
    end = end_of_names([path.rpartition("/")[2] for path in paths])
    if not end:
        return ""
    return f"; if the names of the files begin with the class, as {paths[0]!r}, set source.layout='**/{end}'"


def layout_hint(paths: Sequence[str]) -> str:
    """A layout of files whose names may begin with the class, `cat_1.png`; "" if none does."""
    for path in paths[:1]:
        folder, slash, name = path.rpartition("/")
        if match := WORD.match(name):
            known = folder.split("/")[0].lower() in SPLIT_NAMES
            above = "{split}/" if known and "/" not in folder else f"{'**' if slash else ''}{slash}"
            layout = f"{above}{_end(paths, match[1])}"
            return f"; if the names of the files begin with the class, as {path!r}, set source.layout={layout!r}"
    return numbered_names_hint(paths)


def _end(paths: Sequence[str], sign: str) -> str:
    return f"{'{label+}' if _only_numbers_follow(paths, sign) else '{label-}'}{sign}*"


def _place(end: str, name: str) -> Place | None:
    try:
        return Layout(end).match(name)
    except UserError:
        return None


def _only_numbers_follow(paths: Sequence[str], sign: str) -> bool:
    """Whether only a number comes after the last `sign` of every name, and some classes have the sign too: a_dog_1."""
    stems = [PurePosixPath(path).stem.rpartition(sign) for path in paths]
    return all(number.isdigit() for _, _, number in stems) and any(sign in label for label, _, _ in stems)
