"""Notes of class folders and of the folders inside of them: what else they may be, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from augpipe.data.sources._group_paths import groups_by_name
from augpipe.data.sources._top_folders import ASIDE, notes_of_classes, notes_of_copies

NUMBERED: Final = re.compile(r"([^\W\d_]*)[ _-]?\d+")
MANY: Final = 10  # classes
EACH: Final = 5  # pictures


def folder_notes(paths: Sequence[str], template: str) -> list[str]:
    """Notes of the class folders and those inside of them.

    template: the layout that was chosen, which ends with `**/*`.
    """
    stem = stem_of(template)
    depth = stem.split("/").index("{label}")
    classes = [path.split("/")[depth] for path in paths]
    notes = [*notes_of_classes(sorted(set(classes)))]
    are_groups = groups_by_name(classes)
    notes += _called_as_groups(classes, are_groups, with_label(stem, "{group}"))
    below = folders_below(paths, stem)
    notes += notes_of_copies(name for folders in below for name in folders)
    if not are_groups and any(folders and not any(map(ASIDE.fullmatch, folders)) for folders in below):
        level = _first_divided(classes, below)
        notes.append(
            "classes have sub-folders; if each is a patient or a person, set "
            f"source.layout='{stem}{'*/' * level}{{group}}/{rest(below, level + 1)}' so that none is in more than one "
            f"of train, val and test; if they are the classes, set source.layout='{with_label(stem, '*')}{'*/' * level}"
            f"{{label}}/{rest(below, level + 1)}'"
        )
    return notes


def stem_of(template: str) -> str:
    """The folders that a layout reads: `{split}/{label}/` of `{split}/{label}/**/*`."""
    return template.removesuffix("**/*")


def with_label(stem: str, other: str) -> str:
    """Folders that a layout reads with `other` in the place of the class."""
    return stem.replace("{label}", other)


def folders_below(paths: Sequence[str], stem: str) -> list[list[str]]:
    """The folders of each picture that are inside of those that a layout reads."""
    return [path.split("/")[stem.count("/") : -1] for path in paths]


def _called_as_groups(classes: Sequence[str], are_groups: bool, stem: str) -> list[str]:
    """A note of class folders that by their names may be patients or objects; stem: a layout's, if they are."""
    if are_groups:
        return [
            f"the class folders are called as groups are, such as {classes[0]!r}: if each is a patient or a person and "
            f"no class, set source.layout='{stem}{{label}}/**/*', with {{label}} where the class stands, or use "
            "a table with the columns path, label and group"
        ]
    if numbered := _numbered(classes):
        return [
            f"the class folders are numbered, such as {numbered!r}, and have few pictures each: if each is one patient "
            "or object and no class, use a table with the columns path, label and group"
        ]
    return []


def _numbered(classes: Sequence[str]) -> str:
    """A class if all, at least MANY, are called by one word and a number and have fewer than EACH pictures on average;
    else "".
    """
    names = set(classes)
    many = len(names) >= MANY and len(classes) < EACH * len(names)
    words = {match[1] for name in names if (match := NUMBERED.fullmatch(name))} if many else set()
    return classes[0] if len(words) == 1 and all(map(NUMBERED.fullmatch, names)) else ""


def _first_divided(classes: Sequence[str], below: Sequence[Sequence[str]]) -> int:
    """The first level of the folders inside of classes, of each picture, at which a class has several; 0 if none.

    The first of them whose folders are numbered, and each in one class only, as patients' are, goes before kinds such
    as `adenosis`.
    """
    divided = []
    for level in range(min(map(len, below))):
        inner = dict[str, set[str]]()
        for name, folders in zip(classes, below, strict=True):
            inner.setdefault(name, set()).add(folders[level])
        names = set[str]().union(*inner.values())
        in_one = sum(map(len, inner.values())) == len(names)
        if any(len(folders) > 1 for folders in inner.values()):
            divided.append(level)
            if in_one and all(any(sign.isdecimal() for sign in name) for name in names):
                return level
    return divided[0] if divided else 0


def rest(below: Sequence[Sequence[str]], level: int) -> str:
    """The end of a layout whose fields stand for so many folders inside of a class."""
    return "**/*" if any(len(folders) > level for folders in below) else "*"
