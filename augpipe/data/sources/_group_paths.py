"""Groups, such as patients, that are only in the paths of pictures below class folders:
in folders, or in the files' names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from augpipe.core.errors import UserError, several
from augpipe.data.sources._unused import FEWEST, is_group_name, letters

NAMED: Final = re.compile(r"([^\W\d_]+)[ _-]?\d+(?=[ _-][^.]|[.].+[.])")  # `patient7` of `patient7_2`
MOSTLY: Final = 0.8  # of a class's files are named so


def check_group_folders(paths: Sequence[str], depth: int, prefix: str, where: str) -> None:
    """UserError if the sub-folders of classes are called as groups are and numbered, `ill/patient7/1.png`.

    depth: number of folders above the pictures' classes; prefix: of a layout that reads those.
    """
    folders = [parts[depth + 1] for path in paths if len(parts := path.split("/")) > depth + 2]
    if groups_by_name(folders):
        raise UserError(
            f"the classes of {where} have sub-folders such as {folders[0]!r}, which look like groups, such as "
            "patients, and are not used: images of one group could be on both sides of a split; set "
            f"source.layout='{prefix}{{label}}/{{group}}/**/*', or source.layout='{prefix}{{label}}/**/*' if they are "
            "something else"
        )


def groups_by_name(names: Sequence[str]) -> bool:
    """Whether names, one for each picture, are called as groups are and numbered:
    several of each, at least `FEWEST`.
    """
    distinct = set(names)
    kinds = {letters(name) for name in distinct}
    numbered = all(any(sign.isdecimal() for sign in name) for name in distinct)
    return len(kinds) == 1 and numbered and FEWEST <= len(distinct) < len(names) and is_group_name(*kinds)


def names_note(
    paths: Sequence[str],
    classes: Sequence[str],
    layout: str = "",
    advice: str = "write them into a table with a column group",
) -> tuple[str, ...]:
    """A note of files whose names begin with what looks like a group, `person7_bacteria_2.jpeg`.

    classes: of each picture; layout: that of their folders, `{label}/**/*`, if they are read by one. advice: what to do
    where no layout reads the groups.
    """
    by_class: dict[str, list[str]] = {}
    for path, name in zip(paths, classes, strict=True):
        by_class.setdefault(name, []).append(_named(path))
    named = [
        name
        for names in by_class.values()
        if sum(map(bool, names)) >= MOSTLY * len(names) and groups_by_name([n for n in names if n])
        for name in names
        if name
    ]
    if not named:
        return ()
    signs = {path.rpartition("/")[2][len(name)] for path in paths for name in [_named(path)] if name}
    if layout and len(named) == len(paths) and len(signs) == 1:
        advice = f"set layout: '{layout.removesuffix('**/*')}{{group-}}{signs.pop()}*'"
    return (
        f"the names of {several(len(named), 'file')} begin as those of groups do, such as {named[0]!r}: if each is a "
        f"patient or a person, {advice}, so that none is in more than one of train, val and test",
    )


def _named(path: str) -> str:
    """The group that a file's name begins with; "" for none, also if nothing follows it."""
    match = NAMED.match(path.rpartition("/")[2])
    return match[0] if match else ""
