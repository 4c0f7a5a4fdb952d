"""Lists that give one value for each number of a picture, as CUB-200 is published: `images.txt`, its classes, its
split.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._place import Beside
from augpipe.data.sources._settings import unquoted
from augpipe.data.sources._split_columns import MOST, may_be_split

ID: Final = "id"  # the column of numbers
NOTE: Final = "the table has no line of column names: its first column numbers its rows"
FEWEST: Final = 3  # lines
LARGEST: Final = 2**26  # bytes
CLASSES: Final = ("class", "label", "categor")  # in names of lists


def is_numbered(lines: Sequence[str]) -> bool:
    """Whether lines are a number and a value each, the numbers from 0 or 1 on without a gap."""
    words = [line.split() for line in lines if line.strip()]
    if len(words) < FEWEST or any(len(some) != 2 for some in words) or words[0][0] not in ("0", "1"):
        return False
    first = int(words[0][0])
    return all(number == str(first + row) for row, (number, _) in enumerate(words))


def check_numbered_lists(at: Beside, files: Iterable[Path], pictures: Sequence[str], where: str) -> None:
    """UserError if lists beside the pictures have a split of them by number, with the command that uses it.

    pictures: their paths below `at.root`, with `/`.
    """
    lists = {path: values for path in files if path.suffix.lower() == ".txt" and (values := _read(path))}
    images = next((path for path, values in lists.items() if _name_pictures(values, pictures)), None)
    if images is None:
        return
    others = {path: values for path, values in lists.items() if path != images and len(values) == len(lists[images])}
    split = next((path for path, values in others.items() if _is_split(path, values)), None)
    label = next(
        (path for path in others if path != split and any(word in path.stem.lower() for word in CLASSES)), None
    )
    if split is None or label is None:
        return
    # The value of train: published lists of this form ask whether a picture is in train.
    splits = "{1: train, 0: test}" if set(others[split]) == {"0", "1"} else "..."
    root = _root(at, images.parent, lists[images][0], pictures)
    sets = [
        f"source.join=[{at.name(label)}, {at.name(split)}]",
        unquoted("source.columns.label", label.stem),
        unquoted("source.columns.split", split.stem),
        f"source.splits={splits}",
        *([f"source.root={at.name(root)}"] if root else []),
    ]
    raise UserError(
        f"the lists {images.name}, {label.name} and {split.name} have the classes and the split of the pictures of "
        f"{where} by number, and are not used: {'unpack the archive and ' if at.archive else ''}use them (augpipe run "
        f"{shlex.quote(at.name(images))} "
        f"{' '.join(f'--set {shlex.quote(one)}' for one in sets)}), or set source.layout='{{label}}/**/*' to draw "
        "another split"
    )


def _read(path: Path) -> list[str]:
    """The values of a list; empty if a text is none."""
    try:
        if path.stat().st_size > LARGEST:
            return []
        with path.open(encoding="utf-8", errors="replace") as stream:
            head = list(islice(stream, FEWEST))
            if not is_numbered(head):
                return []
            lines = [*head, *stream]
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.strip()] if is_numbered(lines) else []


def _name_pictures(values: Sequence[str], ids: Sequence[str]) -> bool:
    known = {"/".join(one.split("/")[-2:]) for one in ids}
    return all(value.lower().endswith(SUFFIXES) for value in values) and any(
        "/".join(value.split("/")[-2:]) in known for value in values
    )


def _is_split(path: Path, values: Sequence[str]) -> bool:
    return may_be_split(path.stem) and 2 <= len(set(values)) <= MOST


def _root(at: Beside, folder: Path, first: str, pictures: Sequence[str]) -> Path | None:
    """The folder that a list's paths are relative to, if that is not its own; None if none is."""
    above = [path.removesuffix(first) for path in pictures if path == first or path.endswith(f"/{first}")]
    roots = [at.root / prefix for prefix in above]
    return None if folder in roots else next(iter(roots), None)
