"""Path templates for class, group and split: `{label}/**/*`, `{split}/{label}/{group}_*.png`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Final, NamedTuple

import numpy as np
from pydantic import AfterValidator, ValidationInfo

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._folder_notes import BY_CLASS, folder_notes
from augpipe.data.sources._group_paths import check_group_folders, names_note
from augpipe.data.sources._listing import SPLIT_NAMES, Bad, Fetch, Listing, known_split, labelled
from augpipe.data.sources._top_folders import MASKS, check_flat_splits, check_tops, exclude, folder_pattern

FIELDS: Final = ("label", "group", "split")
COPY: Final = "the folder {} contains the same files again and is ignored"
BY_SPLIT = "{split}/{label}/**/*"
SPLIT_NOTE: Final = (
    "the folders train, val and test are a split, which is kept unless split.kind draws another; set layout: "
    f"'{BY_CLASS}' to read them as classes"
)


class NoClassError(UserError):
    """Pictures of which none is in a class folder."""


class Place(NamedTuple):
    """Label, group and split parsed from a path; "" if the layout lacks the field."""

    label: str
    group: str
    split: str
    attributes: tuple[str, ...] = ()


class Layout:
    """A path template. `{label}`, `{group}` and `{split}` match part of a name, `*` any part of a name, `**` any
    number of folders. The values of a repeated field are joined with `/`.

    `{label+}` takes the longest part that fits, `{label-}` the shortest; a field without a sign must fit in one way
    only.
    """

    def __init__(self, template: str, attributes: Sequence[str] = ()) -> None:
        self.template, self.attributes = template, tuple(attributes)
        known = (*FIELDS, *self.attributes)
        fields = [name.rstrip("+-") for name in re.findall(r"\{([^}]*)\}", template)]
        for name in fields:
            if name not in known:
                raise ValueError(f"unknown field {{{name}}} in the layout {template!r}; choose from {', '.join(known)}")
        for name in self.attributes:
            if name not in fields:
                raise ValueError(f"the layout {template!r} has no field {{{name}}} of source.attributes")
        if "label" not in fields:
            raise ValueError(f"the layout {template!r} has no {{label}}; example: {BY_CLASS!r}")
        self.fields = fields
        self.depth = template.count("/") - 2  # folders above those of the classes, of BY_CLASS and BY_SPLIT
        self._shortest = re.compile(_expression(template, "-"))
        self._longest = re.compile(_expression(template, "+"))

    def match(self, path: str) -> Place | None:
        """Parse a path with `/`; None if it does not match the template; UserError if it does in several ways."""
        match, longest = self._shortest.fullmatch(path), self._longest.fullmatch(path)
        if match is None or longest is None:
            return None
        for name, short, long in zip(self.fields, match.groups(), longest.groups(), strict=True):
            if short != long:
                raise UserError(
                    f"the layout {self.template!r} fits {path!r} in several ways: {{{name}}} may be {short!r} or "
                    f"{long!r}; write {{{name}-}} for the shortest or {{{name}+}} for the longest"
                )
        values: dict[str, list[str]] = {name: [] for name in (*FIELDS, *self.attributes)}
        for name, part in zip(self.fields, match.groups(), strict=True):
            values[name].append(part)
        of_field = {name: "/".join(parts) for name, parts in values.items()}
        return Place(
            of_field["label"], of_field["group"], of_field["split"], tuple(of_field[name] for name in self.attributes)
        )


def _expression(template: str, sign: str) -> str:
    """Template → regular expression; fields and `*` do not match `/`. sign: of fields that have none."""
    parts = []
    for segment in template.strip("/").split("/"):
        if segment == "**":
            parts.append(r"(?:[^/]+/)*")
            continue
        tokens = re.split(r"(\{[^}]*\}|\*+)", segment)
        patterns = [_token(token, sign) for token in tokens if token]
        parts.append("".join(patterns) + "/")
    return "".join(parts).removesuffix("/")


def _token(token: str, sign: str) -> str:
    if token.startswith("{"):
        signed = token[-2] if token[-2] in "+-" else sign
        return r"([^/]+)" if signed == "+" else r"([^/]+?)"
    return r"[^/]*?" if token.startswith("*") else re.escape(token)


def _checked(template: str, info: ValidationInfo) -> str:
    Layout(template, info.data.get("attributes", ()))  # a field that is validated before this one
    return template


Template = Annotated[str, AfterValidator(_checked)]


def arrange(
    paths: Sequence[str],
    template: str | None,
    classes: tuple[str, ...] | None,
    where: str,
    opening: Callable[[Sequence[str]], Fetch],
    folders: Sequence[str] = (),
    attributes: Sequence[str] = (),
) -> Listing:
    """Build a listing from paths relative to a root and a layout (`template`, default: `layout_of`).

    attributes: names of fields of the layout. opening: ids → function that fetches them.
    folders: all folders, so that an empty class folder is reported.
    NoClassError if there is no class.
    """
    layout = Layout(template or _default_layout(paths, where, attributes), attributes)
    matched, bad = _matched(paths, layout, template is None)
    empty = _class_folders(folders, layout, matched) if template is None else []
    if not matched and not empty:
        raise _no_picture(paths, template, where)
    if template is None:
        prefix = layout.template.removesuffix(BY_CLASS)
        check_group_folders([path for path, _ in matched], layout.depth, prefix, where)
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
    return Listing(
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
    depth = layout.depth
    names = {folder.split("/")[depth] for folder in folders if folder.count("/") == depth}
    return sorted(names - {place.label for _, place in matched})


def _notes(paths: Sequence[str], places: Sequence[Place], layout: Layout) -> list[str]:
    """Notes of a layout that was not given: what else the folders and the files' names may be."""
    of_names = names_note(paths, [place.label for place in places], layout.template)
    of_split = [SPLIT_NOTE] if layout.template == BY_SPLIT else []
    return [*of_split, *folder_notes(paths, layout.template, layout.depth), *of_names]


def layout_of(paths: Sequence[str], where: str) -> str:
    """BY_SPLIT if the top folders are called train and val or test, else BY_CLASS;
    UserError if mixed, or by name no classes.
    """
    first = {path.split("/", 1)[0] for path in paths if "/" in path}
    named = {SPLIT_NAMES.get(name.lower()) for name in first}
    if "train" not in named or len(named - {None}) < 2:
        check_tops(paths, where)
        return BY_CLASS
    if None in named:
        others = sorted(name for name in first if name.lower() not in SPLIT_NAMES)
        flat = not any(path.count("/") > 1 and path.split("/", 1)[0] in others for path in paths)
        if flat or all(map(MASKS.fullmatch, others)):
            what = "these pictures, which are in no class folder," if flat else "the masks"
            raise UserError(
                f"{where} has both train and test folders and {choices(others[:5])}: leave {what} out with "
                f"{exclude(map(folder_pattern, others))}, or set layout: '{BY_CLASS}' if all are classes"
            )
        raise UserError(
            f"{where} has both train and test folders and {choices(others[:5])}: leave these out with "
            f"{exclude(map(folder_pattern, others))} if the others are a split, or set layout: '{BY_CLASS}' if all are "
            "classes"
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
