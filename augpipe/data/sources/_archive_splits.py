"""Archives that are the splits of a set by their names, such as train.zip and test.zip, also inside another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import PurePath

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._layout import shared_top
from augpipe.data.sources._listing import SPLIT_NAMES
from augpipe.data.sources._template import BY_CLASS
from augpipe.data.sources._top_folders import SPLIT_WORD

MERGE = f"set source.layout='{BY_CLASS}' to merge them"


def splits_of_names(paths: Sequence[PurePath], with_folders: bool = False) -> list[str]:
    """The split of each archive, "" for all if their names are none; UserError if only some are.

    with_folders: a folder counts too, as in `train/cat.zip`, if the name is none.
    """
    splits = []
    for path in paths:
        names = (path.name.split(".")[0], *(reversed(path.parent.parts) if with_folders else ()))
        words = [word for name in names if (word := SPLIT_WORD.fullmatch(name))]
        splits.append(SPLIT_NAMES[words[0][2].lower()] if words else "")
    if "train" not in splits or len(set(splits) - {""}) < 2:
        return [""] * len(paths)
    if "" in splits:
        others = [path.name for path, split in zip(paths, splits, strict=True) if not split]
        raise UserError(
            f"some archives are a split by their names, and {choices(others)} not: rename these, or {MERGE}"
        )
    return splits


def split_note(paths: Sequence[PurePath], inside: str = "") -> str:
    """A note that the archives' names are the split. inside: where they are, if not on their own."""
    names = choices(str(path) if inside else path.name for path in paths)
    return f"the names of the archives{inside} are the split ({names}); {MERGE}"


def inside_split(path: str, top: str, split: str) -> str:
    """A picture's path below the folder of its archive's split."""
    return f"{split}/{path.removeprefix(top)}" if split else path


def top_of(paths: Collection[str], split: str, archive: str) -> str:
    """Folders around all classes of an archive that is a split;
    UserError if it has folders of several splits itself.
    """
    if not split:
        return ""
    top = shared_top(list(paths))
    first = {path.removeprefix(top).split("/", 1)[0].lower() for path in paths}
    if len({SPLIT_NAMES[name] for name in first if name in SPLIT_NAMES}) > 1:
        raise UserError(
            f"the archive {archive} is {split} by its name and has the folders {choices(sorted(first)[:5])}: rename "
            "the archive, or set source.layout"
        )
    return top
