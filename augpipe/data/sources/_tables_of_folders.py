"""Tables beside pictures that name the folders and not the files, as of patients or series of a download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError
from augpipe.data.sources._labels_beside import ROWS_READ, TABLES
from augpipe.data.sources._place import Beside
from augpipe.data.sources._proposal import read_columns

FEWEST: Final = 4  # folders
EACH: Final = 3  # pictures of a folder, on average: classes have more
MOSTLY: Final = 0.8  # of the rows name a folder


def check_tables_of_folders(at: Beside, files: Sequence[Path], class_of: Mapping[str, str], where: str) -> None:
    """UserError if the class folders have few pictures each, and a table beside names them.

    class_of: paths of the pictures → the class of each by its folder.
    """
    folders = set(class_of.values())
    if len(folders) < FEWEST or len(class_of) >= EACH * len(folders):
        return
    for path in (path for path in files if path.suffix.lower() in TABLES):
        columns = read_columns(path, ROWS_READ)
        for name, values in columns.items() if len(columns) > 1 else ():
            named = [next((part for part in str(value).split("/") if part in folders), "") for value in values]
            if sum(map(bool, named)) >= max(FEWEST, MOSTLY * len(named)):
                raise UserError(
                    f"the table {at.place(path)} has in its column {name!r} the names of the folders of {where}, such "
                    f"as {next(filter(None, named))!r}, which have few pictures each: they seem to be patients or "
                    "series, and no classes; write a table of the files with the columns path, label and group, or set "
                    "source.layout='{label}/**/*' if they are the classes"
                )
