"""Folders that are the same inside of all top folders: a split of each class, or the classes themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from augpipe.core.errors import choices
from augpipe.data.sources._folder_notes import folders_below, rest, stem_of, with_label
from augpipe.data.sources._listing import SPLIT_NAMES
from augpipe.data.sources._top_folders import ASIDE, SPLIT_WORD, exclude
from augpipe.data.sources._unclear import UnclearFoldersError

SHARED: Final = 0.5  # of the folders' names are in several top folders
SHOWN: Final = 5
FEWEST: Final = 4  # folders of persons
MOSTLY: Final = 0.8  # of the files have such names, or are in folders inside of the classes


def split_inside(paths: Sequence[str]) -> str:
    """`{label}/{split}/` if all pictures of the classes are in folders called train and val or test; else "".

    Folders between, the same for all pictures, are `*`.
    """
    if not paths:
        return ""
    level, names = _first_level([path.split("/")[1:-1] for path in paths])
    splits = {SPLIT_NAMES.get(name.lower(), "") for name in names}
    several_tops = len({path.split("/", 1)[0] for path in paths}) > 1
    is_split = several_tops and "" not in splits and "train" in splits and len(splits) > 1
    return f"{{label}}/{'*/' * level}{{split}}/" if is_split else ""


def check_shared(paths: Sequence[str], template: str, where: str) -> None:
    """UnclearFoldersError if the folders inside of the classes have mostly the same names in several of them.

    Either may be the classes: `siteA/ill` and `siteA/well`, or `cat/front` and `cat/side`. template: the layout that
    was chosen. An explicit layout, or source.classes, skips this.
    """
    stem = stem_of(template)
    depth = stem.split("/").index("{label}")
    inside = [path for path in paths if path.count("/") > stem.count("/")]  # but for a few beside the folders
    if len(inside) < MOSTLY * len(paths):
        return
    below = folders_below(inside, stem)
    level, names = _first_level(below)
    tops: dict[str, set[str]] = {}
    for path, folders in zip(inside, below, strict=True):
        tops.setdefault(path.split("/")[depth], set()).update(folders[level : level + 1])
    n = Counter(name for inner in tops.values() for name in inner)
    if len(tops) < 2 or not names or sum(count > 1 for count in n.values()) < max(2, SHARED * len(names)):
        return
    raise UnclearFoldersError(
        f"{where} has the folders {_shown(sorted(tops))} with the same folders inside ({_shown(names)}), and either "
        "may be the classes",
        _ways(stem, level, names, below),
    )


def check_same_names(paths: Sequence[str], template: str, where: str) -> None:
    """UnclearFoldersError if the files of the class folders have mostly the same names, of letters alone, in several:
    `AF01/AF01AFS.JPG` and `AF02/AF02AFS.JPG`, as persons or objects have. See `check_shared`.
    """
    stem = stem_of(template)
    depth = stem.split("/").index("{label}")
    tops: dict[str, set[str]] = {}
    n_words, whole = 0, False
    for path in paths:
        parts = path.rpartition(".")[0].split("/")
        name = parts[-1].removeprefix(parts[depth]).strip(" _-.")
        if name.isalpha() and len(parts) == stem.count("/") + 1:
            n_words += 1
            tops.setdefault(parts[depth], set()).add(name)
            whole = whole or name == parts[-1]
    n = Counter(name for names in tops.values() for name in names)
    n_shared = sum(count > 1 for count in n.values())
    if len(tops) < FEWEST or n_words < MOSTLY * len(paths) or n_shared < max(2, SHARED * len(n)):
        return
    by_name = f"set source.layout='{with_label(stem, '{group}')}{{label}}.*' if the classes are the names; " * whole
    raise UnclearFoldersError(
        f"{where} has the folders {_shown(sorted(tops))}, whose files have the same names ({_shown(sorted(n))}), as "
        "those of persons or objects",
        f"{by_name}write a table with the columns path, label and group, or set source.layout='{stem}**/*' if the "
        "folders are the classes",
    )


def _ways(stem: str, level: int, names: Sequence[str], below: Sequence[Sequence[str]]) -> str:
    """The settings for what such folders may be."""
    between, end = "*/" * level, rest(below, level + 1)
    inner = f"{between}{{label}}/{end}"
    words = [match for name in names if (match := SPLIT_WORD.fullmatch(name))]
    around = {(match[1], match[3]) for match in words}
    ways = []
    if len(words) == len(names) and len(around) == 1:
        before, after = around.pop()
        ways.append(f"source.layout='{stem}{between}{before}{{split}}{after}/{end}' if those inside are a split")
    group = with_label(stem, "{group}")
    merged = f"source.layout='{with_label(stem, '*')}{inner}' if those inside are the classes"
    grouped = f"source.layout='{group}{inner}' if also each around them is one patient or site"
    ways += [
        f"{merged}; {grouped}",
        f"source.layout='{stem}{between}{{group}}/{end}' if each inside is a patient or a person",
        f"source.layout='{stem}**/*' if those around are the classes",
    ]
    copies = [f"*/{name}/*" for name in names if ASIDE.fullmatch(name)]
    return f"set {'; '.join(ways)}{f'; leave copies out with {exclude(copies)}' if copies else ''}"


def _first_level(below: Sequence[Sequence[str]]) -> tuple[int, list[str]]:
    """The first level of folders inside of the classes, of each picture, with several names, and these; 0 and no name
    if pictures lie above it.
    """
    for level in range(min((len(folders) for folders in below), default=0)):
        names = {folders[level] for folders in below}
        if len(names) > 1:
            return level, sorted(names)
    return 0, []


def _shown(names: Sequence[str]) -> str:
    return choices([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])
