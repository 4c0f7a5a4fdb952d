"""Groups of images, such as patients: one spelling for all sources."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.sources._unused import MISSING

WHOLE: Final = re.compile(r"([+-]?\d+)\.0*")


def plain_groups(values: NDArray[Any]) -> NDArray[np.object_]:
    """Groups (N,) as text in one spelling, "" for missing ones.

    Spaces around a name are not part of it. 3.0 is 3, as pandas writes whole numbers in a column with gaps. NaN, None
    and the like mean that there is none, as pandas and numpy write them: otherwise all such images would be one group.
    """
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    texts = [str(value) for value in values.tolist()]
    names = {text: _plain(text) for text in set(texts)}
    return np.array([names[text] for text in texts], object)


def _plain(text: str) -> str:
    name = text.strip()
    if name in MISSING:
        return ""
    match = WHOLE.fullmatch(name)
    return match[1] if match else name


def grouped(
    groups: NDArray[Any], ids: NDArray[np.object_], setting: str, where: str
) -> tuple[NDArray[np.object_], tuple[str, ...]]:
    """Group of each image (N,), where one without is a group of its own, and a note of how many are.

    UserError if no image has a group.
    """
    plain = plain_groups(groups)
    n_without = int((plain == "").sum())
    if n_without == len(plain):
        raise UserError(f"{setting} is empty for every image of {where}")
    note = f"{several(n_without, 'image')} of {where} without {setting}, each a group of its own"
    return np.where(plain == "", ids, plain), (note,) if n_without else ()
