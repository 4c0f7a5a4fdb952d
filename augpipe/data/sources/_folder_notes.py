"""Notes of class folders and of the folders inside of them: what else they may be, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._group_paths import groups_by_name
from augpipe.data.sources._listing import SPLIT_NAMES, Listing
from augpipe.data.sources._top_folders import ASIDE, MASKS, exclude, notes_of_classes, notes_of_copies

BY_CLASS: Final = "{label}/**/*"


def folder_notes(paths: Sequence[str], template: str, depth: int) -> list[str]:
    """Notes of the class folders and those inside of them.

    template: the layout that was chosen, which ends as BY_CLASS; depth: number of folders above those of the classes.
    """
    classes = [path.split("/")[depth] for path in paths]
    notes = [*notes_of_classes(sorted(set(classes)))]
    are_groups = groups_by_name(classes)
    if are_groups:
        prefix = template.removesuffix(BY_CLASS)
        notes.append(
            f"the class folders are called as groups are, such as {classes[0]!r}: if each is a patient or a person and "
            f"no class, set layout: '{prefix}{{group}}/{{label}}/**/*', with {{label}} where the class stands, or use "
            "a table with the columns path, label and group"
        )
    below = [path.split("/")[depth + 1 : -1] for path in paths]  # folders inside of the class
    notes += notes_of_copies(name for folders in below for name in folders)
    if inner := _repeated_folders(paths, depth):
        prefix = template.removesuffix(BY_CLASS)
        masks = [f"*/{name}/*" for name in inner if MASKS.fullmatch(name)]
        if not prefix and all(name.lower() in SPLIT_NAMES for name in inner):
            return [
                f"every class has the sub-folders {choices(inner)}, which are merged; set "
                "layout: '{label}/{split}/**/*' to use them as the split"
            ]
        notes.append(
            f"every class has the sub-folders {choices(inner[:5])}; set layout: '{prefix}*/{{label}}/**/*' if these "
            f"are the classes, or '{prefix}{{label}}/{{group}}/{_rest(below, 1)}' if each is a patient or a person"
            + (f"; leave masks out with {exclude(masks)}" if masks else "")
        )
    elif not are_groups and any(folders and not any(map(ASIDE.fullmatch, folders)) for folders in below):
        prefix, level = template.removesuffix("**/*"), _first_divided(classes, below)
        notes.append(
            "classes have sub-folders; if each is a patient or a person, set "
            f"layout: '{prefix}{'*/' * level}{{group}}/{_rest(below, level + 1)}' so that none is in more than one of "
            "train, val and test"
        )
    return notes


def check_inner_folders(images: Listing, where: str) -> None:
    """UserError if the only class has several folders of pictures on each side of a split, `train/images/cat/1.png`.

    Without a split the folders around the classes are descended.
    """
    if images.splits is None:
        return
    below = [path.split("/")[2:-1] for path in images.ids]
    inner = {folders[0] for folders in below if folders}
    if len(inner) > 1 and all(below):
        only = images.classes[0]
        raise UserError(
            f"all pictures of {where} are in the folder {only!r} of each split, with the folders "
            f"{choices(sorted(inner)[:5])} inside: set source.layout='{{split}}/{only}/{{label}}/**/*' if those are "
            "the classes"
        )


def _first_divided(classes: Sequence[str], below: Sequence[Sequence[str]]) -> int:
    """The first level of the folders inside of classes, of each picture, at which a class has several; 0 if none.

    A level whose names all have a number comes before others, as patients have one and their diagnoses none.
    """
    divided = []
    for level in range(min(map(len, below))):
        inner = dict[str, set[str]]()
        for name, folders in zip(classes, below, strict=True):
            inner.setdefault(name, set()).add(folders[level])
        if any(len(names) > 1 for names in inner.values()):
            names = set[str]().union(*inner.values())
            divided.append((not all(any(map(str.isdecimal, name)) for name in names), level))
    return min(divided)[1] if divided else 0


def _rest(below: Sequence[Sequence[str]], level: int) -> str:
    """The end of a layout whose fields stand for so many folders inside of a class."""
    return "**/*" if any(len(folders) > level for folders in below) else "*"


def _repeated_folders(paths: Sequence[str], depth: int) -> list[str]:
    """Names of the sub-folders of the classes if all pictures are in some and all classes have the same, at least
    two.
    """
    inner = dict[str, set[str]]()
    for path in paths:
        parts = path.split("/")
        if len(parts) < depth + 3:
            return []
        inner.setdefault(parts[depth], set()).add(parts[depth + 1])
    names = next(iter(inner.values()), set())
    alike = len(inner) > 1 and all(folders == names for folders in inner.values())
    return sorted(names) if alike and len(names) > 1 else []
