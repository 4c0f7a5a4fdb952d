"""A table of files: CSV, TSV, JSON Lines or Parquet with path and label per row,
and optionally group, split and weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._dicom_files import PATIENT, by_header, is_dicom_file
from augpipe.data.sources._files import printable
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._group_paths import names_note
from augpipe.data.sources._image_folder import has_picture_beside, inner_folder, tables_of
from augpipe.data.sources._listing import Bad, Listing, Rows, classes_option, labelled, without_labels
from augpipe.data.sources._pictures import Blob
from augpipe.data.sources._settings import setting
from augpipe.data.sources._split_lists import other_splits_note, split_list_notes
from augpipe.data.sources._table_file import is_table
from augpipe.data.sources._table_options import TableOptions

if TYPE_CHECKING:  # it imports pandas, which the options do not need
    from augpipe.data.sources._table import Checks, Table

TO_COLUMN: Final = "write them into a column group"
SHEET_ERRORS: Final = ("#n/a", "#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!")
SPREADSHEETS: Final = (".xlsx", ".xls", ".xlsm", ".ods")


class Config(TableOptions):
    """Options of a table of files. Paths that leave the root, and incomplete rows, are quarantined."""

    kind: Literal["manifest"]
    """A CSV, TSV, JSON Lines or Parquet table with a path and a label per row; CelebA's text of attributes; or a
    Hugging Face image folder with a `metadata.csv` in each split's folder."""


def suggest(path: Path) -> dict[str, Any] | None:
    """Config for a path given by the user;
    None if it is neither a table nor an image folder with a table for each split.
    """
    if path.suffix.lower() in SPREADSHEETS and path.is_file():
        raise UserError(f"{path} is a spreadsheet: save it as CSV, and give that file")
    if is_table(path):
        return {"kind": "manifest", "path": str(path)}
    if path.is_dir():
        folder = inner_folder(path)
        if _is_image_folder(folder):
            return {"kind": "manifest", "path": str(folder)}
    return None


def _is_image_folder(root: Path) -> bool:
    """Whether a folder has tables in its splits' folders, and pictures beside one of them or a column `label` in the
    first.

    Otherwise the tables may describe pictures whose classes are folders.
    """
    from augpipe.data.sources._proposal import read_columns  # imported late: it imports pandas

    tables = [table for some in tables_of(root).values() for table in some]
    if any(has_picture_beside(table) for table in tables):
        return True
    return any({"file_name", "label"} <= set(read_columns(table, 1)) for table in tables[:1])


def places(config: Config) -> tuple[Path, ...]:
    """The roots, which must never be written to;
    none if the table's folder contains the working directory and was not set.
    """
    around = config.path.parent.resolve()
    contains_cwd = config.path.is_file() and Path.cwd().is_relative_to(around)
    return () if contains_cwd and config.root is None else config.roots


def check(config: Config) -> None:
    """UserError if the table or a root does not exist."""
    if config.path.is_dir() and not tables_of(config.path):
        raise UserError(
            f"the manifest {config.path} is a folder, and no folder of a split in it has a table, such as "
            "train/metadata.csv"
        )
    if not config.path.exists():
        raise UserError(f"the manifest {config.path} does not exist")
    for table in config.join or ():
        if not table.is_file():
            raise UserError(f"the table {table} in source.join {'is a folder' if table.is_dir() else 'does not exist'}")
    if config.columns.group == config.columns.label:
        raise UserError(
            f"source.columns.group is {config.columns.group!r}, the column of labels: every class would be one group"
        )
    for root in config.roots:
        if not root.is_dir():
            raise UserError(f"the root {root} of the manifest {config.path} is not a folder")
    for one, other in permutations(config.roots, 2):
        if one.resolve().is_relative_to(other.resolve()):
            raise UserError(
                f"the roots {one} and {other} of the manifest {config.path} are the same folder, or one is inside the "
                "other; each file must be below one root only: leave one of them out of source.root"
            )


def listing(config: Config) -> Listing:
    """List the usable rows; UserError if the table cannot be read or lacks a column."""
    check(config)
    roots = config.roots
    # Imported here because it imports pandas, which the options do not need.
    from augpipe.data.sources._paths import unique_ids
    from augpipe.data.sources._table import Checks, read_table

    table = read_table(config)
    rows = Checks(table, config)
    group = rows.column("group")
    by_patient, unused = _patients_and_unused(config, table, rows)
    retained = np.flatnonzero((rows.reasons == "") & ~rows.dropped)
    labels, classes = labelled(rows.labels[retained], config.classes, f"the manifest {config.path}")
    n_dropped = int((labels < 0).sum())
    retained, labels = retained[labels >= 0], labels[labels >= 0]
    paths, root_of = rows.paths[retained], rows.roots[retained]
    ids = unique_ids(paths, root_of, roots)

    def fetch(requested: Rows) -> Iterator[Blob]:
        for row in requested:
            yield roots[root_of[row]] / paths[row]

    group = None if group is None else group[retained]
    named = () if group is not None or by_patient else names_note(ids, [classes[c] for c in labels], advice=TO_COLUMN)
    left_out = [f"{several(n_dropped, 'row')} of other classes left out"] if n_dropped else []
    images = Listing(
        ids=ids,
        labels=labels,
        classes=classes,
        fetch=fetch,
        groups=None if group is None else np.where(group == "", np.array(ids, object), group),
        splits=None if rows.splits is None else rows.splits[retained],
        weights=None if rows.weights is None else rows.weights[retained],
        attributes=_attributes(config, rows, retained),
        bad=rows.bad(),
        notes=(
            *_missing_value_names(classes),
            *_minus_one(classes),
            *(*unused, *rows.notes, *_ungrouped(group), *named),
            *(_splits_beside(config, rows, ids) if rows.splits is None and config.path.is_file() else ()),
            *left_out,
        ),
    )
    if not by_patient:
        return images
    note = (
        f"the {PATIENT} of the DICOM files is the group; set {setting('source.ignore', (PATIENT,))} to leave it unused"
    )
    return by_header(replace(images, notes=(*images.notes, note)), PATIENT)


def _patients_and_unused(config: Config, table: Table, rows: Checks) -> tuple[bool, tuple[str, ...]]:
    """Whether the headers of DICOM files give the groups, and a note of unused columns;
    UserError for groups passed over.
    """
    from augpipe.data.sources._groups_beside import check_groups_beside, groups_beside
    from augpipe.data.sources._unused import check_unused

    groups = rows.column("group")
    has_groups = groups is not None
    dicom = not has_groups and _names_dicom(rows, config.roots)
    beside = {}
    if not has_groups and not dicom and config.path.is_file():
        beside = groups_beside(config.path, rows.paths, config.join or ())
    elsewhere = ({PATIENT} if dicom else beside.keys()) - table.others.keys()
    unused = check_unused(
        table.others,
        rows.labels,
        where=f"the manifest {config.path}",
        what="column",
        groups=groups,
        ignored=set(config.ignore) - elsewhere,
        key="source.columns.group",
    )
    check_groups_beside(beside, config.ignore, config.join or ())
    return dicom and PATIENT not in config.ignore, unused


def _splits_beside(config: Config, rows: Checks, ids: Sequence[str]) -> tuple[str, ...]:
    """Notes of files beside the table that have a split of its pictures: tables, or lists of each of train and test."""
    from augpipe.data.sources._groups_beside import split_beside_note

    used = {path.resolve() for path in (config.path, *(config.join or ()))}
    lists = [path for path in sorted(config.path.parent.iterdir()) if path.is_file() and path.resolve() not in used]
    return (
        *other_splits_note(config.path),
        *split_list_notes(lists, ids),
        *split_beside_note(config.path, rows.paths, config.join or ()),
    )


def _names_dicom(rows: Checks, roots: Sequence[Path]) -> bool:
    """Whether one of the usable files of a table is DICOM, by its content unless it has the suffix of a picture."""
    return any(
        is_dicom_file(roots[root] / path)
        for path, root, why in zip(rows.paths, rows.roots, rows.reasons, strict=True)
        if not why and not path.lower().endswith(SUFFIXES)
    )


def pictures(config: Config) -> Listing:
    """The pictures that a table names, for predictions; UserError if no column names any."""
    check(config)
    from augpipe.data.sources._paths import Paths, unique_ids
    from augpipe.data.sources._proposal import columns_of, path_column
    from augpipe.data.sources._table_file import read_file

    content, roots = read_file(config.path, config.encoding), config.roots
    columns = columns_of(content.table)
    if content.folders is not None:  # of a Hugging Face image folder
        columns = {
            name: np.array([f"{f}/{v}" for f, v in zip(content.folders, values, strict=True)], object)
            for name, values in columns.items()
        }
    name = path_column(columns, roots)
    if name is None:
        raise UserError(
            f"no column of the table {config.path} names pictures below {choices(roots)}; it has {choices(columns)}"
        )
    written = columns[name]
    reasons = np.full(len(written), "", object)
    paths, root_of = Paths(roots).resolve(written, reasons)
    usable = np.flatnonzero(reasons == "")
    ids = unique_ids(paths[usable], root_of[usable], roots)
    files = [roots[root] / path for path, root in zip(paths[usable], root_of[usable], strict=True)]
    bad = tuple(
        Bad(printable(str(written[row])) or f"row {content.numbers[row]}", str(reasons[row]))
        for row in np.flatnonzero(reasons != "")
    )
    return without_labels(ids, lambda rows: (files[row] for row in rows), bad)


def _attributes(config: Config, rows: Checks, retained: NDArray[np.int64]) -> dict[str, NDArray[np.object_]]:
    """The values of source.attributes in these rows."""
    from augpipe.data.sources._table import ATTRIBUTE

    columns = {name: rows.column(ATTRIBUTE + name) for name in config.attributes}
    return {name: values[retained] for name, values in columns.items() if values is not None}


def _ungrouped(group: NDArray[np.object_] | None) -> tuple[str, ...]:
    n = 0 if group is None else int((group == "").sum())
    return (f"{several(n, 'row')} without a group, each its own group",) if n else ()


def _missing_value_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Note class names that look like a missing value."""
    missing = ("nan", "none", "null", "na", "n/a", "<na>", "?", "-", *SHEET_ERRORS)
    names = [name for name in classes if name.lower() in missing]
    return tuple(f"the label {name!r} is read as a class name, not as a missing value" for name in names)


def _minus_one(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Note a class -1, which in many sets means that a picture has no label."""
    others = [name for name in classes if name != "-1"]
    # -1 beside a single other label is the second class, as in CelebA's tables.
    if len(others) == len(classes) or len(others) < 2 or any(name.startswith("-") for name in others):
        return ()
    return (
        "the label '-1' is read as a class; if it means that there is no label, leave it out: "
        f"{classes_option(others)}",
    )
