"""Masks among pictures, by their names: `1_mask.png` beside `1.png`, `masks/1.png` beside `images/1.png`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from augpipe.core.errors import UserError, several
from augpipe.data.sources._top_folders import patterns_option

FOLDER: Final = re.compile(
    r"masks?|labels?|seg(mentations?)?|gt|ground[ _-]?truths?|annotations?"
    r"|overlays?|heat[ _-]?maps?|grad[ _-]?cams?|saliency([ _-]?maps?)?",
    re.IGNORECASE,
)
# A name that is another picture's and a word for its segmentation, or for what a model sees in it.
MASK: Final = re.compile(
    r"(.+?)([ _.-](?:masks?|seg|segm|segmentation|segmented|gt|groundtruth|labels?|annotations?|annotated|overlay"
    r"|heat[ _-]?map|(?:grad[ _-]?)?cam|saliency))(?:[ _.-]?\d+)?",
    re.IGNORECASE,
)
MOSTLY: Final = 0.8  # of the pictures in folders of a name have the names of others
ALL: Final = "*"  # a pattern of source.include: the pictures are images, whatever their names


class Mask(NamedTuple):
    """A picture that is by its name the mask of another, and a pattern of those that are named as it is."""

    path: str
    pattern: str


def check_masks(paths: Sequence[str], include: Collection[str], exclude: Sequence[str], where: str) -> None:
    """UserError if pictures are by their names masks of others: they would be images of the class.

    include, exclude: patterns that are set. With a pattern ALL in `include` the pictures are images.
    """
    masks = [] if ALL in include else masks_among(paths)
    if masks:
        raise UserError(f"{where} has {masks_text(masks, paths, exclude)}")


def masks_text(masks: Sequence[Mask], paths: Sequence[str], exclude: Sequence[str]) -> str:
    """What the masks among `paths` are and how to leave them out."""
    patterns, known = sorted({mask.pattern for mask in masks}), {mask.path for mask in masks}
    others = [path for path in paths if path not in known and any(fnmatchcase(path, one) for one in patterns)]
    more = f" (and {several(len(others), 'other')}, such as {others[0]})" if others else ""
    are = (
        "that is by its name a mask or overlay of another"
        if len(masks) == 1
        else "that are by their names masks or overlays of others"
    )
    return (
        f"{several(len(masks), 'picture')} {are}, such as {masks[0].path}, and would be trained on as images: leave "
        f"such out with {patterns_option('exclude', [*exclude, *patterns])}{more}, or read them as images with "
        f"{patterns_option('include', [ALL])}"
    )


def table_advice(paths: Sequence[str]) -> str:
    """`; ` and what to do with pictures whose classes are neither in folders nor in names nor in a file beside."""
    masks, of_masks = masks_among(paths), ""
    if masks:
        of_masks = f" of the pictures without the {several(len(masks), 'mask')}, such as {masks[0].path}"
        of_masks += " (the class may be whether a mask is empty)"
    return f"; write a table{of_masks} with the columns path, label and split"


def masks_among(paths: Sequence[str]) -> list[Mask]:
    """Pictures that are by their names masks of others, in the order of `paths`."""
    stems = {_stem(path) for path in paths}
    patterns = _in_folders(paths)
    for path in paths:
        match = MASK.fullmatch(_stem(path))
        if match and match[1] in stems:
            patterns[path] = f"*{match[2]}*"
    return [Mask(path, patterns[path]) for path in paths if path in patterns]


def _in_folders(paths: Sequence[str]) -> dict[str, str]:
    """Pictures in folders that are called as masks are, below a top folder → the pattern `*/masks/*`.

    They have the names of pictures beside their folder or in another folder beside it: MOSTLY of those in folders of
    one name.
    """
    parts_of = {path: _stem(path).split("/") for path in paths}
    at = {
        path: level
        for path, parts in parts_of.items()
        if (level := next((n for n in range(len(parts) - 2, 0, -1) if FOLDER.fullmatch(parts[n])), 0))
    }
    if not at:
        return {}
    others = set()
    for path, parts in parts_of.items():
        if path not in at:
            others |= {(*parts[:n], "/", *parts[n:]) for n in range(1, len(parts))}  # beside a folder
            others |= {(*parts[:n], "/", *parts[n + 1 :]) for n in range(1, len(parts) - 1)}  # in one beside it
    n_all, n_like = Counter[str](), dict[str, list[str]]()
    for path, level in at.items():
        parts = parts_of[path]
        folder, name = parts[level], parts[-1]
        n_all[folder] += 1
        match = MASK.fullmatch(name)
        names = (name, match[1]) if match else (name,)
        if any((*parts[:level], "/", *parts[level + 1 : -1], one) in others for one in names):
            n_like.setdefault(folder, []).append(path)
    return {
        path: f"*/{folder}/*" for folder, some in n_like.items() if len(some) >= MOSTLY * n_all[folder] for path in some
    }


def _stem(path: str) -> str:
    return path.rpartition(".")[0]
