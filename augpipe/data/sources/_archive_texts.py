"""Files beside the pictures of archives, written to a folder where they can be looked at as those beside others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from augpipe.data.sources._archive_contents import Contents, Member, fetch_members
from augpipe.data.sources._labels_beside import TABLES

READ: Final = (*TABLES, ".txt", ".lst", ".list", ".json")
MOST: Final = 50  # files that are written with what is in them
NAMED: Final = 2000  # files of a folder that are written without
NAMED_IN_ALL: Final = 20_000
REFUSED: Final = (OSError, ValueError)  # for names that a file system does not take, such as one with a zero byte


@contextmanager
def texts_beside(archives: Sequence[Path], contents: Contents) -> Iterator[Path]:
    """A folder with the folders of archives and their files that are no pictures, while the block runs.

    The first MOST texts that are least deep have their content; others are empty, at most NAMED in a folder, and stand
    for their names.
    """
    with TemporaryDirectory() as scratch:
        # Tables may begin their paths with the name of the folder that an archive is unpacked to.
        root = Path(scratch).resolve() / archives[0].name.split(".")[0]
        _make(root)
        for folder in sorted(contents.folders):
            _make(root / contents.packed_path(folder))
        counts, n = Counter[str](), 0
        read: list[tuple[Path, Member]] = []
        for name, member in sorted(contents.others.items(), key=lambda item: (item[0].count("/"), item[0])):
            folder = name.rpartition("/")[0]
            counts[folder] += 1
            wanted = len(read) < MOST and name.lower().endswith(READ)
            if wanted:
                read.append((root / name, member))
            if wanted or (counts[folder] <= NAMED and n < NAMED_IN_ALL):
                n += 1
                if counts[folder] == 1:
                    _make(root / folder)
                with suppress(*REFUSED):
                    (root / name).touch()
        read.sort(key=lambda one: _place(one[1]))
        for (path, _), blob in zip(read, fetch_members(archives, [member for _, member in read]), strict=True):
            with suppress(*REFUSED):
                path.write_bytes(blob if isinstance(blob, bytes) else b"")
        yield root


def _place(member: Member) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Order of members in which no archive is unpacked twice."""
    inner, key = ((key,) if isinstance(key, int) else key or () for key in (member.inner, member.key))
    return member.archive, inner, key


def _make(folder: Path) -> None:
    with suppress(*REFUSED):
        folder.mkdir(parents=True, exist_ok=True)
