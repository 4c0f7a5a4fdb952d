"""A table or file of labels beside folders of pictures: the folders may be parts of a download, and not classes."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._group_paths import called_as_groups
from augpipe.data.sources._place import Beside
from augpipe.data.sources._settings import unquoted
from augpipe.data.sources._split_lists import other_splits_note, split_of_name

if TYPE_CHECKING:
    from augpipe.data.sources._paths import ArchiveRoot

TABLES: Final = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")
LISTS: Final = (".txt",)  # of a path and a label a line, as training code reads them
DIVIDES: Final = re.compile(r"partition|split|fold", re.IGNORECASE)  # in the name of a list of train, val and test
NO_LABELS: Final = " (it has no labels: write the names of the folders into it as a column label)"
MOST_TABLES: Final = 10  # that are read
ROWS_READ: Final = 200  # of each table
LARGEST_FILE: Final = 2**28  # bytes; larger ones are not read
AGREEING: Final = 0.9  # fraction of a table's pictures that lie in the folder that a value stands for
# Folders that are named for storage: `part_1`, `00000`, `images`.
STORAGE: Final = re.compile(r".*(part|shard|batch|chunk|images?|img|data|folder)[ _-]*\d*|\d{2,}", re.IGNORECASE)


class Table(NamedTuple):
    """A table that names the pictures, its column of paths, the options of the command that reads it,
    and why it matters.
    """

    path: Path
    column: str
    options: str
    why: str


def check_labels_beside(
    at: Beside, top: str, class_of: Mapping[str, str], aside: Collection[str] = (), divided: bool = True
) -> None:
    """UserError if a file beside the folders has labels of the pictures that differ from the names of their folders, or
    groups, or a split unless the folders are one (`divided`).

    class_of: paths of the pictures below the root → the class of each by its folder; `top` is around all. aside:
    folders without pictures whose files are looked at too. An explicit `layout` skips this.
    """
    folders = choices(sorted(set(class_of.values()))[:3])
    advice = f"set source.layout='{{label}}/**/*' if the folders ({folders}, ...) are the classes"
    files = files_beside(at.root, top, aside)
    if table := _table_with_labels(at, files, class_of, divided=divided):
        raise UserError(
            f"the table {at.place(table.path)} names the pictures in its column {table.column!r}, and {table.why}: "
            f"{at.command(table.path, table.options)}, or {advice}{_others(table.path)}"
        )
    for path in files:
        if path.name == "dataset.json" and _has_labels(path):
            raise UserError(
                f"{at.place(path)} has labels of the pictures: write them as a table with the columns path and label, "
                f"or {advice}"
            )


def groups_note(at: Beside, top: str, class_of: Mapping[str, str]) -> tuple[str, ...]:
    """A note of groups in a table beside pictures whose layout is set and has none; arguments as in
    `check_labels_beside`."""
    table = _table_with_labels(at, files_beside(at.root, top), class_of)
    if table is None or "source.columns.group" not in table.options:
        return ()
    return (
        f"the table {at.place(table.path)} names the pictures, and {table.why}; source.layout does not read it, so "
        f"that pictures of one group may be in train and test: to keep them together, "
        f"{at.command(table.path, table.options)}",
    )


def table_hint(at: Beside, top: str, pictures: Sequence[str]) -> str:
    """How to use a table beside pictures that are in no class folder; "" if there is none."""
    table = _table_with_labels(at, files_beside(at.root, top), dict.fromkeys(pictures, ""))
    if table is None:
        return ""
    return (
        f"; the table {at.place(table.path)} names the pictures in its column {table.column!r}: "
        f"{at.command(table.path, table.options).replace('use the table', 'use it')}{_others(table.path)}"
    )


def _others(table: Path) -> str:
    return "".join(f"; {note}" for note in other_splits_note(table))


def files_beside(root: Path, top: str, aside: Collection[str] = ()) -> list[Path]:
    """Files in the folders from `root` to `root`/`top`, in the first ones below, and in those `aside`."""
    parts = top.split("/")[:-1]
    above = [root.joinpath(*parts[:n]) for n in range(len(parts) + 1)]
    inside = [folder for folder in sorted(above[-1].iterdir()) if folder.is_dir()]
    others = [root / folder for folder in aside if root / folder not in inside[:MOST_TABLES]]
    return [path for folder in (*above, *inside[:MOST_TABLES], *others) for path in _readable_files(folder)]


def _table_with_labels(
    at: Beside, files: Sequence[Path], class_of: Mapping[str, str], *, divided: bool = True
) -> Table | None:
    """The first table whose labels differ from the folders of the pictures it names, or that has groups of them; else
    None.

    One whose column of labels is known comes before others, such as that of a test without labels, and that of train
    before those of val and test. A competition's form for predictions, whose labels are invented, is none. divided: the
    pictures have a split; otherwise a table that has one counts too.
    """
    from augpipe.data.sources._proposal import split_settings, whole_mapping
    from augpipe.data.sources._table_file import is_table

    tables = []
    lists = [
        path for path in files if path.suffix.lower() in LISTS and not DIVIDES.search(path.stem) and is_table(path)
    ]
    named = [path for path in files if path.suffix.lower() in TABLES and "submission" not in path.stem.lower()]
    for path in sorted([*named, *lists][:MOST_TABLES], key=lambda path: split_of_name(path) in ("val", "test")):
        root = _root_of(at.root, path, class_of)
        below = _pictures_below(at.root, root, class_of) if at.archive else root
        columns = _label_column(at.root, path, class_of, below)
        if columns is None:
            continue
        column, label, agrees = columns
        options = {"path": column} | ({"label": label} if label else {})
        more = whole_mapping(path, below) if label or not agrees else _group_column(path)
        options |= {key: name for key, name in more.items() if key not in options}
        why = "its labels differ from the names of the folders"
        sets = [] if root == path.parent else [f"source.root={at.name(root)}"]
        sets += [unquoted(f"source.columns.{key}", name) for key, name in options.items() if key != "split"]
        split = split_settings(path)
        if agrees:
            why = f"its column {options.get('group')!r} looks like groups, such as patients"
            if "group" not in options and split:
                why = f"its column {split[0].partition('=')[2]!r} looks like their split"
            why += "" if label else NO_LABELS
        if not agrees or "group" in options or (split and not divided):
            words = " ".join(f"--set {shlex.quote(one)}" for one in (*sets, *split))
            table = Table(path, column, words, why)
            if "label" in options:
                return table
            tables.append(table)
    return tables[0] if tables else None


def _group_column(path: Path) -> dict[str, str]:
    """`group`: the first column of a table that by its name and its values is one of groups."""
    from augpipe.data.sources._table_groups import groups_in

    names = groups_in(path)
    return {"group": names[0]} if names else {}


def _readable_files(folder: Path) -> list[Path]:
    """Files of a folder that are not too large to be looked into."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in files if path.stat().st_size <= LARGEST_FILE]


def _root_of(root: Path, table: Path, class_of: Mapping[str, str]) -> Path:
    """The folder that the paths of a table are relative to: its own, unless no picture is below it."""
    prefix = "" if table.parent == root else f"{table.parent.relative_to(root).as_posix()}/"
    return table.parent if any(path.startswith(prefix) for path in class_of) else root


def _pictures_below(root: Path, folder: Path, class_of: Mapping[str, str]) -> ArchiveRoot:
    """The pictures of an archive that are in a folder below `root`."""
    from augpipe.data.sources._paths import ArchiveRoot

    prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    return ArchiveRoot(folder, [path.removeprefix(prefix) for path in class_of if path.startswith(prefix)])


def _label_column(
    root: Path, path: Path, class_of: Mapping[str, str], below: Path | ArchiveRoot
) -> tuple[str, str, bool] | None:
    """A column that names pictures, one with labels or "", and whether it agrees with the folders, as one without
    labels does; None if no column names pictures of the folders."""
    from augpipe.data.sources._paths import Paths
    from augpipe.data.sources._proposal import may_have_labels, proposal, read_columns
    from augpipe.data.sources._unused import is_group_name

    columns = read_columns(path, ROWS_READ)
    settings = proposal(columns, [below])
    if "path" not in settings or len(columns) == 1:  # nothing that could be a label
        return None
    paths = Paths([below])
    prefix = (below if isinstance(below, Path) else below.root).relative_to(root)
    pictures = [(prefix / paths.one(str(value)).path).as_posix() for value in columns[settings["path"]]]
    rows = [row for row, picture in enumerate(pictures) if picture in class_of]
    folders = [class_of[pictures[row]] for row in rows]
    single = len(set(class_of.values())) == 1
    # Folders of patients beside a table that may have labels are no classes: what stands for a patient is no label.
    patients = called_as_groups(set(folders)) and may_have_labels(path, below)
    for name, column in columns.items():
        if name == settings["path"] or is_group_name(name) or (patients and name != settings.get("label")):
            continue
        values = [str(column[row]).strip() for row in rows]
        # Every constant column stands for a single folder: that is one class only if it has the folder's name.
        if rows and (values == folders if single else _agree(values, folders)):
            return settings["path"], name, True
    names = set(folders)
    numbers = all(folder.isdecimal() for folder in names) and max(map(len, names), default=0) > 1
    storage = single or patients or numbers or all(not folder or STORAGE.fullmatch(folder) for folder in names)
    if not rows:
        return None
    return settings["path"], settings.get("label", ""), not ("label" in settings or storage)


def _agree(values: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether values and folders stand for each other, one to one, but for a few rows."""
    pairs = Counter(zip(values, folders, strict=True))
    most = {value: max((n, f) for (v, f), n in pairs.items() if v == value)[1] for value in set(values)}
    right = sum(most[value] == folder for value, folder in zip(values, folders, strict=True))
    return len(set(most.values())) == len(most) == len(set(folders)) and right >= AGREEING * len(values)


def _has_labels(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and bool(content.get("labels"))
