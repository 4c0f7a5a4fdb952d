"""Arrange pictures by their paths: choose a layout where none is set, and read class, group and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._flat_splits import check_flat_split
from augpipe.data.sources._folder_notes import folder_notes, stem_of
from augpipe.data.sources._group_paths import check_group_folders, names_note
from augpipe.data.sources._inner_folders import split_inside
from augpipe.data.sources._listing import SPLIT_NAMES, Bad, Fetch, Listing, known_split, labelled
from augpipe.data.sources._options import Options
from augpipe.data.sources._template import BY_CLASS, Layout, Place
from augpipe.data.sources._top_folders import MASKS, check_flat_splits, check_tops, exclude, folder_pattern
from augpipe.data.sources._unclear import UnclearFoldersError

COPY: Final = "the folder {} contains the same files again and is ignored"
BY_SPLIT: Final = "{split}/{label}/**/*"
SPLIT_NOTE: Final = (
    "the folders train, val and test are a split, which is kept unless split.kind draws another; set "
    f"source.layout='{BY_CLASS}' to read them as classes"
)
INNER_SPLIT_NOTE: Final = (
    "the folders train, val and test inside of the class folders are used as the split; set "
    f"source.layout='{BY_CLASS}' to merge them"
)


class NoClassError(UnclearFoldersError):
    """Pictures of which none is in a class folder."""


def arrange(
    config: Options,
    paths: Sequence[str],
    where: str,
    opening: Callable[[Sequence[str]], Fetch],
    folders: Sequence[str] = (),
) -> tuple[Listing, str]:
    """Build a listing from paths relative to a root and a layout (config.layout, default: `layout_of`);
    and that layout.

    opening: ids → function that fetches them. folders: all folders, so that an empty class folder is reported.
    NoClassError if there is no class; another UnclearFoldersError if folders may mean several things.
    """
    template, attributes, classes = config.layout, config.attributes, config.classes
    layout = Layout(template or _default_layout(paths, where, attributes), attributes)
    matched, bad = _matched(paths, layout, template is None)
    empty = _class_folders(folders, layout, matched) if template is None else []
    if not matched and not empty:
        raise _no_picture(paths, template, where)
    if template is None:
        check_group_folders([path for path, _ in matched], stem_of(layout.template), where)
    names = [place.label for _, place in matched]
    labels, classes = labelled([*names, *empty], classes, where)
    labels = labels[: len(matched)]
    used = [entry for entry, label in zip(matched, labels, strict=True) if label >= 0]
    ids, places = [path for path, _ in used], [place for _, place in used]
    notes = _notes(ids, places, layout) if template is None else []
    if n_dropped := len(matched) - len(used):
        notes.append(f"{several(n_dropped, 'picture')} of other classes left out")
    groups = [place.group or path for path, place in used]
    splits = [place.split and known_split(place.split, f"{where}, {path}") for path, place in used]
    images = Listing(
        ids=ids,
        labels=labels[labels >= 0],
        classes=classes,
        fetch=opening(ids),
        groups=np.array(groups, object) if "group" in layout.fields else None,
        splits=np.array(splits, object) if "split" in layout.fields else None,
        attributes={
            name: np.array([place.attributes[at] for place in places], object) for at, name in enumerate(attributes)
        },
        bad=tuple(bad),
        notes=tuple(notes),
    )
    return images, layout.template


def _default_layout(paths: Sequence[str], where: str, attributes: Sequence[str]) -> str:
    if attributes:
        raise UserError(
            "source.attributes are fields of source.layout, which is not set; set it, such as "
            f"{{label}}/{{{attributes[0]}}}/*"
        )
    return layout_of(paths, where)


def _matched(paths: Sequence[str], layout: Layout, by_default: bool) -> tuple[list[tuple[str, Place]], list[Bad]]:
    """The paths that fit the layout, each with its place, and the others;
    by_default: whether the layout was not given.
    """
    mismatch = "not in a class folder: layout" if by_default else "does not match the layout"
    matched, bad = list[tuple[str, Place]](), list[Bad]()
    for path in paths:
        place = layout.match(path)
        if place is None:
            bad.append(Bad(path, f"{mismatch} {layout.template}"))
        else:
            matched.append((path, place))
    return matched, bad


def _no_picture(paths: Sequence[str], template: str | None, where: str) -> UserError:
    """The error if no path fits."""
    if template is not None and paths:
        return UserError(f"no picture of {where} matches the layout {template!r}; the first is {paths[0]!r}")
    return NoClassError(f"{where} needs a sub-folder of pictures for each of at least 2 classes; it has none")


def _class_folders(folders: Sequence[str], layout: Layout, matched: list[tuple[str, Place]]) -> list[str]:
    """Names of class folders without a picture."""
    depth = stem_of(layout.template).split("/").index("{label}")
    names = {folder.split("/")[depth] for folder in folders if folder.count("/") == depth}
    return sorted(names - {place.label for _, place in matched})


def _notes(paths: Sequence[str], places: Sequence[Place], layout: Layout) -> list[str]:
    """Notes of a layout that was not given: what else the folders and the files' names may be."""
    of_names = names_note(paths, [place.label for place in places], layout.template)
    of_split = [] if "split" not in layout.fields else [SPLIT_NOTE if layout.template == BY_SPLIT else INNER_SPLIT_NOTE]
    return [*of_split, *folder_notes(paths, layout.template), *of_names]


def layout_of(paths: Sequence[str], where: str) -> str:
    """BY_SPLIT if the top folders are called train and val or test, `{label}/{split}/**/*` if those inside of them are,
    else BY_CLASS; UserError if mixed, or by name no classes.
    """
    first = {path.split("/", 1)[0] for path in paths if "/" in path}
    named = {SPLIT_NAMES.get(name.lower()) for name in first}
    if "train" not in named or len(named - {None}) < 2:
        check_flat_split(paths, where)
        check_tops(paths, where)
        stem = split_inside(paths)
        return f"{stem}**/*" if stem else BY_CLASS
    if None in named:
        others = sorted(name for name in first if name.lower() not in SPLIT_NAMES)
        flat = not any(path.count("/") > 1 and path.split("/", 1)[0] in others for path in paths)
        if flat or all(map(MASKS.fullmatch, others)):
            what = "these pictures, which are in no class folder," if flat else "the masks"
            raise UserError(
                f"{where} has both train and test folders and {choices(others[:5])}: leave {what} out with "
                f"{exclude(map(folder_pattern, others))}, or set source.layout='{BY_CLASS}' if all are classes"
            )
        raise UserError(
            f"{where} has both train and test folders and {choices(others[:5])}: leave these out with "
            f"{exclude(map(folder_pattern, others))} if the others are a split, or set source.layout='{BY_CLASS}' if "
            "all are classes"
        )
    check_flat_splits(paths, where)
    return BY_SPLIT


def shared_top(paths: Sequence[str], folders: Sequence[str] = (), keep_splits: bool = False) -> str:
    """`data/pictures/` if these folders are around all class folders, as archives and zip programs add them; else "".

    folders: all folders; one without a picture is a class that lacks some, not a folder around the others. A folder
    called train is one around the others too, if there is no val or test beside it, unless keep_splits.
    """
    top = ""
    while paths:
        inner = [path[len(top) :] for path in paths]
        tops = {path.split("/", 1)[0] for path in (*inner, *_below(folders, top))}
        if len(tops) != 1 or not all(path.count("/") >= 2 for path in inner):
            break
        if keep_splits and tops & set(SPLIT_NAMES):
            break
        top += f"{tops.pop()}/"
    return top


def _below(folders: Sequence[str], top: str) -> list[str]:
    return [folder[len(top) :] for folder in folders if folder.startswith(top)]


def without_copy(paths: Sequence[str], equal: Callable[[str, str], bool]) -> tuple[list[str], str]:
    """The paths without a top folder that holds all other files once more, as some published archives do; and its name
    or "".

    equal: whether two files have the same content.
    """
    counts = Counter(path.split("/", 1)[0] for path in paths if "/" in path)
    for top, n in sorted(counts.items()):
        if 2 * n == len(paths):
            rest = [path for path in paths if not path.startswith(f"{top}/")]
            inside = {path.removeprefix(f"{top}/") for path in paths if path.startswith(f"{top}/")}
            if inside == set(rest) and all(equal(path, f"{top}/{path}") for path in rest):
                return rest, top
    return list(paths), ""
