"""Folders beside pictures that have no picture but files about them: labels of boxes, annotations, lists of a split."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from augpipe.core.errors import choices, several

# Names of such folders, and suffixes of their files; a class folder whose pictures are missing has neither.
NAMES: Final = re.compile(
    r"(labels?|\w*[ _-]labels?|(?-i:\w*[a-z]Labels?)|annotations?|annos?|anns?|bbox(es)?|boxes|xmls?|jsons?"
    r"|meta[ _-]?(data|info)?|splits?|image[ _-]?sets?|info|docs?|csvs?"
    r"|lists?|txts?|yolo|coco|voc|attributes?|parts)([ _.-].*)?(train|val|test)?\d*",
    re.IGNORECASE,
)
SUFFIXES: Final = frozenset(
    {
        ".txt",
        ".xml",
        ".json",
        ".jsonl",
        ".csv",
        ".tsv",
        ".lst",
        ".yaml",
        ".yml",
        ".md",
        ".html",
        ".mat",
        ".names",
        ".data",
        ".parquet",
    }
)
MOST: Final = 2000  # files of a folder that are looked at
LARGEST: Final = 2**26  # bytes of a .json file that is looked into


def sidecars(root: Path, folders: Sequence[str], pictures: Sequence[str]) -> dict[str, Counter[str]]:
    """Folders below `root` without a picture, whose files describe pictures → their files by suffix.

    Only the outermost of each. folders, pictures: paths relative to the root. A folder counts if all of its files are
    texts, and it is called as such folders are or its files as the pictures; those may have no suffix.
    """
    holding = {path.rsplit("/", n)[0] for path in pictures for n in range(1, path.count("/") + 1)}
    stems = {_stem(path) for path in pictures}
    counts: dict[str, Counter[str]] = {}
    for folder in sorted(folders):
        if folder in holding or any(folder.startswith(f"{one}/") for one in counts):
            continue
        names = list(islice(_files(root / folder), MOST))
        suffixes = Counter(os.path.splitext(name)[1].lower() for name in names)  # noqa: PTH122 (a name)
        alike = sum(_of_picture(_stem(name), stems) for name in names)
        named = NAMES.fullmatch(folder.rpartition("/")[2]) or 2 * alike > len(names)
        # Files that are called as the pictures describe them, also without a suffix.
        texts = suffixes.keys() <= (SUFFIXES | {""} if 2 * alike > len(names) else SUFFIXES)
        if names and texts and named:
            counts[folder] = suffixes
    return counts


def sidecar_notes(counts: Mapping[str, Counter[str]]) -> tuple[str, ...]:
    """A note of such folders: they are no classes."""
    return tuple(
        f"the folder {folder} has no picture but {_shown(suffixes)}, and is not read as a class"
        for folder, suffixes in counts.items()
    )


def boxes_hint(root: Path, counts: Mapping[str, Counter[str]], pictures: Sequence[str]) -> str:
    """`; ` and how to go on with pictures whose classes are only in files of boxes, as YOLO,
    VOC and COCO have; else "".
    """
    stems = {_stem(path) for path in pictures}
    for folder, suffixes in counts.items():
        files = [name for name in islice(_files(root / folder), MOST) if _stem(name) in stems]
        per_picture = any(name.lower().endswith((".txt", ".xml", ".json")) for name in files)
        if per_picture or any(_is_coco(path) for path in sorted((root / folder).rglob("*.json"))):
            return (
                f"; the folder {folder} has {_shown(suffixes)} of the pictures, as object detection has (YOLO, VOC, "
                "COCO): write a table with the columns path and label, one class for each picture"
            )
    return ""


def _shown(suffixes: Mapping[str, int]) -> str:
    return choices(several(n, f"{suffix} file" if suffix else "file") for suffix, n in sorted(suffixes.items()))


def _stem(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def _of_picture(stem: str, stems: Collection[str]) -> bool:
    """Whether a file is called as a picture is, also with a word behind: `S005_001_00000011_emotion`."""
    return stem in stems or stem.rpartition("_")[0] in stems


def _files(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, but for hidden ones."""
    for _, folders, names in os.walk(folder):
        folders.sort()
        yield from (name for name in sorted(names) if not name.startswith("."))


def _is_coco(path: Path) -> bool:
    """Whether a .json file has images and annotations, as COCO's."""
    try:
        content: Any = json.loads(path.read_bytes()) if path.stat().st_size <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()
