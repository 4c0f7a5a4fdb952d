"""A table or file of labels beside folders of pictures: the folders may be parts of a download, and not classes."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._group_paths import called_as_groups
from augpipe.data.sources._image_folder import tables_of
from augpipe.data.sources._settings import unquoted

if TYPE_CHECKING:
    from augpipe.data.sources._paths import ArchiveRoot

TABLES: Final = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")
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
    root: Path, top: str, ids: Sequence[str], names: Sequence[str], aside: Collection[str] = (), divided: bool = True
) -> None:
    """UserError if a file beside the folders has labels of the pictures that differ from the names of their folders, or
    groups, or a split unless the folders are one (`divided`).

    ids: paths of the pictures below `root`/`top`; names: the class of each by its folder. aside: folders without
    pictures whose files are looked at too. An explicit `layout` skips this.
    """
    class_of = {f"{top}{path}": name for path, name in zip(ids, names, strict=True)}
    folders = choices(sorted(set(names))[:3])
    advice = f"set source.layout='{{label}}/**/*' if the folders ({folders}, ...) are the classes"
    files = files_beside(root, top, aside)
    if table := _table_with_labels(root, files, class_of, divided=divided):
        command = _command(root, table.path, table.options)
        raise UserError(
            f"the table {table.path} names the pictures in its column {table.column!r}, and {table.why}: use the table "
            f"({command}), or {advice}"
        )
    for path in files:
        if path.name == "dataset.json" and _has_labels(path):
            raise UserError(
                f"{path} has labels of the pictures: write them as a table with the columns path and label, or {advice}"
            )


def check_archive_tables(
    tables: Mapping[str, Callable[[], bytes]], class_of: Mapping[str, str], where: str, divided: bool
) -> None:
    """As `check_labels_beside`, for an archive.

    tables: paths of its tables → function that reads them. class_of: paths of its pictures → the class of each by its
    folder.
    """
    with TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        table = _table_with_labels(root, _unpacked(tables, root), class_of, in_archive=True, divided=divided)
    if table is None:
        return
    name = table.path.relative_to(root).as_posix()
    folders = choices(sorted(set(class_of.values()))[:3])
    raise UserError(
        f"the table {name} in {where} names the pictures in its column {table.column!r}, and {table.why}: unpack the "
        f"archive and use the table (augpipe run {shlex.quote(name)} {table.options}), or set "
        f"source.layout='{{label}}/**/*' if the folders ({folders}, ...) are the classes"
    )


def _unpacked(tables: Mapping[str, Callable[[], bytes]], root: Path) -> list[Path]:
    """Write an archive's tables below `root`; one that cannot be read is left out."""
    files = []
    for name, read in sorted(tables.items(), key=lambda item: item[0].count("/"))[:MOST_TABLES]:
        path = root / name
        if not path.resolve().is_relative_to(root):  # a name such as ../x
            continue
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read())
            files.append(path)
    return files


def table_hint(root: Path, top: str, ids: Sequence[str]) -> str:
    """How to use a table beside pictures that are in no class folder; "" if there is none."""
    class_of = dict.fromkeys((f"{top}{i}" for i in ids), "")
    table = _table_with_labels(root, files_beside(root, top), class_of)
    if table is None:
        return ""
    command = _command(root, table.path, table.options)
    return f"; the table {table.path} names the pictures in its column {table.column!r}: use it ({command})"


def _command(root: Path, table: Path, sets: str) -> str:
    """The command that reads a table, or with it those of all splits."""
    folder = table.parent.parent
    if folder.is_relative_to(root) and any(table in tables for tables in tables_of(folder).values()):
        return f"augpipe run {shlex.quote(str(folder))} --set source.kind=manifest {sets}"
    return f"augpipe run {shlex.quote(str(table))} {sets}"


def files_beside(root: Path, top: str, aside: Collection[str] = ()) -> list[Path]:
    """Files in the folders from `root` to `root`/`top`, in the first ones below, and in those `aside`."""
    parts = top.split("/")[:-1]
    above = [root.joinpath(*parts[:n]) for n in range(len(parts) + 1)]
    inside = [folder for folder in sorted(above[-1].iterdir()) if folder.is_dir()]
    others = [root / folder for folder in aside if root / folder not in inside[:MOST_TABLES]]
    return [path for folder in (*above, *inside[:MOST_TABLES], *others) for path in _readable_files(folder)]


def _table_with_labels(
    root: Path, files: Sequence[Path], class_of: Mapping[str, str], *, in_archive: bool = False, divided: bool = True
) -> Table | None:
    """The first table whose labels differ from the folders of the pictures it names, or that has groups of them; else
    None.

    One whose column of labels is known comes before others, such as that of a test without labels; a competition's form
    for predictions, whose labels are invented, comes last. in_archive: the pictures
    are in one. divided: they have a split; otherwise a table that has one counts too.
    """
    from augpipe.data.sources._proposal import split_settings, whole_mapping

    tables = []
    candidates = [path for path in files if path.suffix.lower() in TABLES][:MOST_TABLES]
    for path in sorted(candidates, key=lambda path: "submission" in path.stem.lower()):
        below = _pictures_below(root, path, class_of) if in_archive else _root_of(root, path, class_of)
        columns = _label_column(root, path, class_of, below)
        if columns is None:
            continue
        column, label, agrees = columns
        options = {"path": column} | ({"label": label} if label else {})
        more = whole_mapping(path, below) if label or not agrees else _group_column(path)
        options |= {key: name for key, name in more.items() if key not in options}
        why = "its labels differ from the names of the folders"
        sets = [] if in_archive or below == path.parent else [f"source.root={below}"]
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


def _pictures_below(root: Path, table: Path, class_of: Mapping[str, str]) -> ArchiveRoot:
    """The pictures of an archive that are in the folder of a table."""
    from augpipe.data.sources._paths import ArchiveRoot

    folder = table.parent.relative_to(root).as_posix()
    prefix = "" if folder == "." else f"{folder}/"
    pictures = [path.removeprefix(prefix) for path in class_of if path.startswith(prefix)]
    return ArchiveRoot(table.parent, pictures)


def _label_column(
    root: Path, path: Path, class_of: Mapping[str, str], below: Path | ArchiveRoot
) -> tuple[str, str, bool] | None:
    """A column that names pictures, one with labels or "", and whether it agrees with the folders, as one without
    labels does; None if no column names pictures of the folders."""
    from augpipe.data.sources._paths import Paths
    from augpipe.data.sources._proposal import may_have_labels, proposal, read_columns

    columns = read_columns(path, ROWS_READ)
    settings = proposal(columns, [below])
    if "path" not in settings or len(columns) == 1:  # nothing that could be a label
        return None
    paths = Paths([below])
    prefix = (below if isinstance(below, Path) else path.parent).relative_to(root)
    pictures = [(prefix / paths.one(str(value)).path).as_posix() for value in columns[settings["path"]]]
    rows = [row for row, picture in enumerate(pictures) if picture in class_of]
    folders = [class_of[pictures[row]] for row in rows]
    single = len(set(class_of.values())) == 1
    # Folders of patients beside a table that may have labels are no classes: what stands for a patient is no label.
    patients = called_as_groups(set(folders)) and may_have_labels(path, below)
    for name, column in columns.items():
        if name == settings["path"] or (patients and name != settings.get("label")):
            continue
        values = [str(column[row]).strip() for row in rows]
        # Every constant column stands for a single folder: that is one class only if it has the folder's name.
        if rows and (values == folders if single else _agree(values, folders)):
            return settings["path"], name, True
    storage = single or patients or all(not folder or STORAGE.fullmatch(folder) for folder in set(folders))
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
