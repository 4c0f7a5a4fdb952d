"""Files that hold parts of a set, such as `train-00000-of-00002`: listed, and their splits by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from augpipe.core.errors import UserError, choices, several
from augpipe.core.schema import refuse_changed
from augpipe.data.sources._files import check_fetched, walk
from augpipe.data.sources._formats import SUFFIXES
from augpipe.data.sources._listing import SPLIT_NAMES

OF: Final = re.compile(r"(.*)-(\d+)-of-(\d+)")  # a file and their number, as Hugging Face writes them
NUMBERED: Final = re.compile(r"(.*?)(\d+)")  # `train-000`
MOST: Final = 100_000  # files that are counted
SHOWN: Final = 5  # missing files in a message


@dataclass
class Shards:
    """The files of a set, their unique names (with `/`, without suffix), and the folder each was given in.

    tops: empty unless the paths lie in several folders. lost: files that cannot be used, with the reason; their images
    are missing. ignored: suffix → number of other files. notes: messages to the user.
    """

    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def find_shards(paths: Sequence[Path], suffixes: tuple[str, ...]) -> Shards:
    """Every file with one of `suffixes` in the given folders, and the given files.

    UserError if there is none, if one is given twice, or if two have one name.
    """
    shards = Shards()
    for path in paths:
        if path.is_dir():
            _add_folder(shards, path, suffixes)
        elif path.is_file():
            shards.paths.append(path)
            shards.names.append(without_suffix(path.name, suffixes))
            shards.tops.append(path.parent.name)
        else:
            raise UserError(f"the file {path} does not exist")
    if not shards.paths:
        first = f"; {shards.lost[0]}" if shards.lost else ""
        if shards.lost and "a link to outside" in first:
            first += " (a cache of Hugging Face's hub has such links: copy its folder with `cp -rL`)"
        raise UserError(f"{choices(paths)} has no usable {suffixes[0]} file{first}")
    if len(set(shards.tops)) < 2:
        shards.tops = []
    elif len(set(shards.names)) < len(shards.names):
        # train/0000 and test/0000 of the paths [set/train, set/test]
        shards.names = [f"{top}/{name}" for top, name in zip(shards.tops, shards.names, strict=True)]
    _check_unique(shards)
    if any(path.is_dir() for path in paths):
        _check_complete(shards)
        shards.notes += _gaps(shards.names)
        shards.notes += _configurations(shards.names)
    for path in shards.paths:
        check_fetched(path)
        if not path.stat().st_size:
            raise UserError(f"the file {path} is empty")
    return shards


def only_shards(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a folder has files with one of `suffixes`, and no picture: it cannot be one of class folders."""
    names = [name.lower() for name in walk(folder, (*suffixes, *SUFFIXES)).paths]
    return bool(names) and all(name.endswith(suffixes) for name in names)


def _add_folder(shards: Shards, folder: Path, suffixes: tuple[str, ...]) -> None:
    files = walk(folder, suffixes)
    # A file without suffix is listed if it begins as a picture.
    names = [name for name in files.paths if name.lower().endswith(suffixes)]
    shards.paths += [folder / name for name in names]
    shards.names += [without_suffix(name, suffixes) for name in names]
    shards.tops += [folder.name] * len(names)
    shards.lost += files.lost
    shards.ignored += files.ignored
    shards.ignored["no suffix"] += len(files.paths) - len(names)
    for one in files.bad:
        if one.id.lower().endswith(suffixes):
            shards.lost.append(f"the file {folder / one.id}: {one.reason}")
        else:
            shards.ignored[Path(one.id).suffix.lower() or "no suffix"] += 1
    shards.ignored = +shards.ignored


def _check_unique(shards: Shards) -> None:
    """UserError if a file is there twice, or two files have one name."""
    seen: dict[Path, Path] = {}
    for path in shards.paths:
        other = seen.setdefault(path.resolve(), path)
        if other is not path:
            raise UserError(f"source.path has the file {path} twice, also as {other}")
    by_name: dict[str, Path] = {}
    for name, path in zip(shards.names, shards.paths, strict=True):
        other = by_name.setdefault(name, path)
        if other is not path:
            raise UserError(f"source.path has two files of the name {name!r}, {other} and {path}: rename one")


def _check_complete(shards: Shards) -> None:
    """UserError if one of several files is missing by its number, as 00001 beside `train-00000-of-00002`."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for name in shards.names:
        if match := OF.fullmatch(name):
            numbers.setdefault((match[1], match[3]), set()).add(int(match[2]))
    for (name, total), have in numbers.items():
        missing = [number for number in range(min(int(total), MOST)) if number not in have]
        if missing:
            raise UserError(
                f"the file {name}-{missing[0]:0{len(total)}}-of-{total} is missing, and {several(len(have), 'file')} "
                f"of the {int(total):,} are there: fetch the others, or name those to use in source.path"
            )


def _gaps(names: Sequence[str]) -> list[str]:
    """Notes of numbers that are missing between those of several files, as 001 of `train-000` and `train-002`.

    Not where most are missing: the numbers are dates, or those of a selection.
    """
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        if not OF.fullmatch(name) and (match := NUMBERED.fullmatch(name)):
            numbers.setdefault(match[1], {})[int(match[2])] = match[2]
    notes = []
    for prefix, have in numbers.items():
        first, last = min(have), max(have)
        if len(have) < 2 or last + 1 > 2 * len(have):
            continue
        missing = [number for number in range(min(first, 1), last) if number not in have]
        shown = choices(f"{prefix}{number:0{len(have[first])}}" for number in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        if missing:
            notes.append(
                f"{several(len(have), 'file')} up to {prefix}{have[last]}, without {shown}{more}: fetch what is "
                "missing, if anything is"
            )
    return notes


def _configurations(names: Sequence[str]) -> list[str]:
    """A note of folders with files of the same names, `plain/train-0` and `small/train-0`, as versions of one set have.

    Not of folders of splits.
    """
    folders: dict[str, set[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        folders.setdefault(file, set()).add(folder)
    alike = sorted(set[str]().union(*(some for some in folders.values() if len(some) > 1)))
    if not alike or any(SPLIT_NAMES.get(part) for folder in alike for part in folder.lower().split("/")):
        return []
    return [
        f"the folders {choices(alike[:SHOWN])} have files of the same names, and are read together: if they are "
        f"versions of one set, give one of them, such as {alike[0] or 'the files beside the folders'}"
    ]


def without_suffix(name: str, suffixes: Sequence[str]) -> str:
    """`data.00.tar.gz` → `data.00`: without the longest of `suffixes`, or else without the last suffix."""
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name.rpartition(".")[0] or name


def split_of_shards(shards: Shards, where: str) -> list[str]:
    """Split of each file by a folder in its name, its first word, or the folder in which it was given.

    Empty if there are not at least two splits. UserError if only some files name a split.
    """
    splits = [_split_of(name) for name in shards.names]
    if shards.tops:
        splits = [split or SPLIT_NAMES.get(top.lower(), "") for split, top in zip(splits, shards.tops, strict=True)]
    named = [name for name, split in zip(shards.names, splits, strict=True) if split]
    for name, split in zip(shards.names, splits, strict=True):
        if named and not split:
            raise UserError(
                f"the file {name!r} of {where} names no split, and others do, such as {named[0]!r}: rename the files, "
                "give those of one use in source.path, or set source.official: false to merge them all"
            )
    return splits if len(set(splits)) > 1 else []


def check_official(config: Any) -> None:
    """ValueError for settings of a split that is not used."""
    if not config.official:
        refuse_changed(config, ("split", "splits"), "with official: false")


def _split_of(name: str) -> str:
    *folders, file = name.lower().split("/")
    for word in (*folders, re.split(r"[-_.]", file)[0]):
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return ""
