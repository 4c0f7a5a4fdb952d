"""Groups, such as patients, that are only in the paths of pictures below class folders:
in folders, or in the files' names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from augpipe.core.errors import UserError, several
from augpipe.data.sources._name_groups import copies_of_originals, tracks
from augpipe.data.sources._template import Layout
from augpipe.data.sources._unused import FEWEST, is_group_name, letters, like_groups

NAMED: Final = re.compile(r"([^\W\d_]*)[ _-]?\d+(?=[ _-][^.]|[.].+[.])")  # `patient7` of `patient7_2`, `003` of `003_2`
LETTERS: Final = re.compile(r"^[^\W\d_]+")
SHORT: Final = frozenset({"p", "s", "pt", "pat", "pac", "sub", "subj"})  # what patients are called before a number
SIDES: Final = re.compile(r"(.*\d)[ _-](left|right|l|r|od|os)", re.IGNORECASE)
MOSTLY: Final = 0.8  # of a class's files are named so


def check_group_folders(paths: Sequence[str], stem: str, where: str) -> None:
    """UserError if the sub-folders of classes are called as groups are and numbered, `ill/patient7/1.png`.

    stem: the folders that the layout reads, `{label}/`.
    """
    level = stem.count("/")
    folders = [parts[level] for path in paths if len(parts := path.split("/")) > level + 1]
    if groups_by_name(folders):
        raise UserError(
            f"the classes of {where} have sub-folders such as {folders[0]!r}, which look like groups, such as "
            "patients, and are not used: images of one group could be on both sides of a split; set "
            f"source.layout='{stem}{{group}}/**/*', or source.layout='{stem}**/*' if they are something else"
        )


def groups_by_name(names: Sequence[str]) -> bool:
    """Whether names, one for each picture, are called as groups are and numbered:
    several of each, at least `FEWEST`.
    """
    distinct = set(names)
    return len(distinct) < len(names) and called_as_groups(distinct)


def called_as_groups(names: Collection[str]) -> bool:
    """Whether different names are called as groups are and numbered, at least `FEWEST`."""
    kinds = {letters(name) for name in names}
    numbered = all(any(sign.isdecimal() for sign in name) for name in names)
    return len(kinds) == 1 and numbered and len(names) >= FEWEST and is_group_name(*kinds)


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
        if sum(map(bool, names)) >= MOSTLY * len(names) and _are_groups([n for n in names if n])
        for name in names
        if name
    ]
    starts = [_after_class(path, name) for path, name in zip(paths, classes, strict=True)]
    named = named or _by_repetition([_named(path, start) for path, start in zip(paths, starts, strict=True)], classes)
    named = named or _of_pairs(paths)
    if named:
        kind, end = "begin as those of groups do", _end_of_layout(paths, starts, named)
        groups = named if len(named) == len(paths) else []
    else:
        copies = copies_of_originals(paths, classes)
        more = copies or tracks(paths, classes)
        if more is None:
            return ()
        kind, end = ("are those of copies of one original" if copies else "number frames of one track"), more.layout
        groups = more.groups
        named = [group for group in groups if group]
    setting = _layout_that_reads(paths, groups, layout, end)
    each = "if each is a patient or a person, " if kind.startswith("begin") else ""
    return (
        f"the names of {several(len(named), 'file')} {kind}, such as {named[0]!r}: {each}{setting or advice}, so that "
        "none is in more than one of train, val and test",
    )


def _layout_that_reads(paths: Sequence[str], groups: Sequence[str], layout: str, end: str) -> str:
    """The setting of a layout that reads these groups in the names of all files; "" if it does not.

    layout: that of the folders; end: that of the names.
    """
    if not layout or not end or not all(groups) or not groups:
        return ""
    stem = layout.removesuffix("**/*")
    deeper = "**/" if any(path.count("/") > stem.count("/") for path in paths) else ""
    whole = f"{stem}{deeper}{end}"
    try:
        places = map(Layout(whole).match, paths)
        reads = all(place and place.group == group for place, group in zip(places, groups, strict=True))
    except UserError:  # it fits in several ways
        return ""
    return f"set source.layout='{whole}'" if reads else ""


def _end_of_layout(paths: Sequence[str], starts: Sequence[int], named: Sequence[str]) -> str:
    """The end of a layout that may read the groups in the names of all files; "" if none does.

    starts: where the names of the groups begin to differ from those of the classes.
    """
    if len(named) != len(paths):
        return ""
    names = [path.rpartition("/")[2] for path in paths]
    signs = {name[len(group)] for name, group in zip(names, named, strict=True)}
    return f"{{group{'+' if any(starts) else '-'}}}{min(signs)}*" if len(signs) == 1 else ""


def _after_class(path: str, label: str) -> int:
    """Where a file's name goes on if it begins with the name or number of its class and a sign, else 0."""
    start = ("0*" if label.isdecimal() else "") + re.escape(label)
    match = re.match(rf"{start}[ _-]", path.rpartition("/")[2], re.IGNORECASE)
    return match.end() if match else 0


def _are_groups(names: Sequence[str]) -> bool:
    """As `groups_by_name`, also for what patients are called in short: `P003`."""
    return groups_by_name([LETTERS.sub("patient", name) if letters(name) in SHORT else name for name in names])


def _by_repetition(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The names if they are numbers, or a letter and one, that repeat as those of groups do: few pictures each, of one
    class. Else none.
    """
    known = [(name, label) for name, label in zip(names, classes, strict=True) if name]
    kinds = {letters(name[_after_class(name, label) :]) for name, label in known}
    if len(known) < MOSTLY * len(names) or len(kinds) != 1:
        return []
    values, labels = (np.array(column, object) for column in zip(*known, strict=True))
    return values.tolist() if len(min(kinds)) <= 1 and like_groups("", values, labels) else []


def _of_pairs(paths: Sequence[str]) -> list[str]:
    """What the names begin with if they end with the side of an eye or breast, `10_left` and `10_right`; else none."""
    matches = [SIDES.fullmatch(path.rpartition("/")[2].rpartition(".")[0]) for path in paths]
    named = [match[1] for match in matches if match]
    return named if len(named) >= MOSTLY * len(paths) and len(set(named)) <= MOSTLY * len(named) else []


def _named(path: str, start: int = 0) -> str:
    """The group that a file's name begins with, from `start` on; "" for none, also if nothing follows it."""
    name = path.rpartition("/")[2]
    match = NAMED.match(name, start)
    return name[: match.end()] if match else ""
