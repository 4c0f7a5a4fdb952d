"""Files beside class folders that list the pictures of a split, such as `train.txt` and `test.txt`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from augpipe.core.errors import choices
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._image_folder import tables_of
from augpipe.data.sources._listing import SPLIT_NAMES

LISTS: Final = (".txt", ".lst", ".csv", ".tsv", ".list")
NAMED: Final = re.compile(
    r"(.*?[\W_])??(training|train|validation|valid|val|dev|testing|test)([\W_\d].*|list.*|images.*|set.*|split.*)?",
    re.IGNORECASE,
)
LOOKED_AT: Final = 50  # lines
MOSTLY: Final = 0.8  # of these lines name a picture
LONGEST: Final = 2**16  # characters of a first line
LARGEST: Final = 2**26  # bytes


def split_list_notes(files: Iterable[Path], ids: Sequence[str]) -> tuple[str, ...]:
    """A note of files that list pictures of at least two splits, train among them, and are not used.

    ids: paths of the pictures, with `/`.
    """
    pictures = names_of(ids)
    by_split: dict[str, list[str]] = {}
    for path in files:
        match = NAMED.fullmatch(path.name.partition(".")[0])
        if match and path.suffix.lower() in LISTS and lists_pictures(path, pictures):
            by_split.setdefault(SPLIT_NAMES[match[2].lower()], []).append(path.name)
    if "train" not in by_split or len(by_split) < 2:
        return ()
    names = [name for names in by_split.values() for name in names]
    return (
        f"{choices(names)} list pictures of {choices(by_split)}, and are not used: to keep this split, write a table "
        "with the columns path, label and split",
    )


def other_splits_note(table: Path) -> tuple[str, ...]:
    """A note of tables of other splits beside one of a split, `valid.csv` beside `train.csv`, that begin as it does."""
    beside = [path for tables in tables_of(table.parent.parent).values() for path in tables]
    if table in beside and len(beside) > 1:
        return (
            f"the tables of the other splits beside {table.parent.name} are not used: to keep this split, give the "
            f"folder {table.parent.parent}",
        )
    split = split_of_name(table)
    if not split:
        return ()
    head = _head(table)
    others = [
        path.name
        for path in sorted(table.parent.iterdir())
        if path.suffix == table.suffix and split_of_name(path) not in ("", split) and path.is_file()
        if _alike(head, _head(path))
    ]
    if not others:
        return ()
    return (
        f"{choices(others)} beside {table.name} by name of other splits, and not used: to keep this split, write one "
        "table with the columns path, label and split",
    )


def split_of_name(path: Path) -> str:
    """train, val or test by the name of a list or table; "" for none."""
    match = NAMED.fullmatch(path.name.partition(".")[0])
    return SPLIT_NAMES[match[2].lower()] if match and path.suffix.lower() in LISTS else ""


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.readline(LONGEST).strip()
    except OSError:
        return ""


def _alike(head: str, other: str) -> bool:
    """Whether two tables have the same column names, or both begin with a picture and as many cells."""
    if head == other:
        return bool(head)
    cells, others = (re.split(r"[,;\t ]", line) for line in (head, other))
    return len(cells) == len(others) > 1 and all(
        any(cell.lower().endswith(SUFFIXES) for cell in some) for some in (cells, others)
    )


def names_of(ids: Sequence[str]) -> set[str]:
    """Folder and name of each picture without suffix, `cat/1`, and its name alone if no other has it."""
    both = [_parts(path) for path in ids]
    n = Counter(name for _, name in both)
    return {f"{folder}/{name}" for folder, name in both} | {name for name in n if n[name] == 1}


def _parts(path: str) -> tuple[str, str]:
    """Folder and name of a file without suffix, in lower case."""
    folder, _, name = path.strip("\"'").replace("\\", "/").lower().rpartition("/")
    stem = name.rpartition(".")[0] if name.endswith(SUFFIXES) else name
    return folder.rpartition("/")[2], stem


def lists_pictures(path: Path, pictures: set[str]) -> bool:
    """Whether most of the first lines of a text have the path of a picture, with or without its suffix."""
    try:
        if path.stat().st_size > LARGEST:
            return False
        with path.open(encoding="utf-8", errors="replace") as stream:
            lines = [line.strip() for line in islice(stream, LOOKED_AT) if line.strip()]
    except OSError:
        return False
    table = path.suffix.lower() in (".csv", ".tsv")
    n = 0
    for line in lines:
        words = re.split(r"[,;\t]", line) if table else line.split()[:1]
        n += any({"/".join(parts), parts[1]} & pictures for parts in map(_parts, words))
    return bool(lines) and n >= MOSTLY * len(lines) - 1  # a line of column names
