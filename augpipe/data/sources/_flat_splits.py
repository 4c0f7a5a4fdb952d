"""Folders of a split without class folders, `train/cat.1.jpg` and `test1/1.jpg`: where their classes may be."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from augpipe.core.errors import choices
from augpipe.data.sources._class_names import end_of_names
from augpipe.data.sources._listing import SPLIT_NAMES
from augpipe.data.sources._top_folders import OF_PICTURES, SPLIT_WORD, as_classes, exclude, folder_pattern
from augpipe.data.sources._unclear import UnclearFoldersError

SHOWN: Final = 5


def check_flat_split(paths: Sequence[str], where: str) -> None:
    """UnclearFoldersError if the top folders are by their names a split, and pictures lie in them without a folder of a
    class. A folder inside of one of the same name, `train/train`, is none.
    """
    files: dict[str, list[str]] = {}
    for path in paths:
        top, _, rest = path.partition("/")
        name = rest.removeprefix(f"{top}/")  # of a folder inside of one of the same name
        if rest and "/" not in name:
            files.setdefault(top, []).append(name)
    n = sum(map(len, files.values()))
    around = _around(list(files)) if n == len(paths) else None
    if around is None:
        return
    split, others = around
    between = "*/" if any(path.count("/") > 1 for path in paths) else ""
    ways = _by_names({top: files[top] for top in split}, others, between)
    raise UnclearFoldersError(
        f"{where} has the folders {choices(sorted(split)[:SHOWN])}, which by their names are a split, and no folders "
        "of classes in them",
        f"{ways}write a table with the columns path, label and split, or set {as_classes(files)}",
    )


def _around(tops: Sequence[str]) -> tuple[dict[str, str], list[str]] | None:
    """Folders of a split → what a layout says of each, and the other folders; None if they are no split."""
    matches = {top: SPLIT_WORD.fullmatch(top) for top in tops}
    words = {top: match for top, match in matches.items() if match is not None}
    bare = {top.rstrip("0123456789 _-").lower() for top in tops}
    if bare <= set(SPLIT_NAMES) and {SPLIT_NAMES[name] for name in bare} > {"train"}:
        return {top: "{split}" if top.lower() in SPLIT_NAMES else "" for top in tops}, []
    kinds = {(match[1], match[3]) for match in words.values()}
    splits = {SPLIT_NAMES[match[2].lower()] for match in words.values()}
    # Such as cars_train and cars_test, and no classes such as train_a and test_a.
    if splits > {"train"} and len(kinds) == 1 and any(b or OF_PICTURES.fullmatch(a) for b, a in kinds):
        before, after = kinds.pop()
        return dict.fromkeys(words, f"{before}{{split}}{after}"), [top for top in tops if top not in words]
    return None


def _by_names(files: Mapping[str, Sequence[str]], others: Sequence[str], between: str) -> str:
    """Settings that read classes with which the names of files begin, and leave out folders whose files have none."""
    ends = {top: end for top, names in files.items() if (end := end_of_names(names))}
    around = _around(list(files)) or ({}, [])
    if not ends or len(set(ends.values())) > 1:
        return ""
    folders = {around[0].get(top, "") for top in ends}
    folder = next(iter(ends)) if len(ends) == 1 else folders.pop() if len(folders) == 1 else ""
    if not folder:
        return ""
    without = sorted({*files, *others} - ends.keys())
    layout = f"{folder}/{between}{next(iter(ends.values()))}"
    left_out = f"{exclude(map(folder_pattern, without))} " if without else ""
    example = next(name for name in files[next(iter(ends))])
    return (
        f"if names of files begin with the class, as {example!r}, use {left_out}--set "
        f"{shlex.quote(f'source.layout={layout}')}; else "
    )
