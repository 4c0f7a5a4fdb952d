"""Where the files beside pictures are: in their folder, or in the archive that holds both."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from augpipe.data.sources._image_folder import tables_of


class Beside(NamedTuple):
    """The folder of files beside pictures, `root`, and of the pictures unless they are in an archive.

    archive: its name in messages; "" for a folder.
    """

    root: Path
    archive: str = ""

    def name(self, path: Path) -> str:
        """A file in messages and commands; of an archive, where unpacking it there would put it."""
        return path.relative_to(self.root).as_posix() if self.archive else str(path)

    def place(self, path: Path) -> str:
        """A file in messages, with the archive that it is in."""
        return f"{self.name(path)} in {self.archive}" if self.archive else str(path)

    def command(self, path: Path, options: str) -> str:
        """`use the table (command)`, of a table or with it those of all splits."""
        folder, kind = path.parent.parent, ""
        if folder.is_relative_to(self.root) and any(path in tables for tables in tables_of(folder).values()):
            path, kind = folder, "--set source.kind=manifest "
        unpack = "unpack the archive and " if self.archive else ""
        return f"{unpack}use the table (augpipe run {shlex.quote(self.name(path))} {kind}{options})"
