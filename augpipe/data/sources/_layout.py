"""Where class, group and split stand in a path: `{label}/**/*`, `{split}/{label}/{group}_*.png`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, NamedTuple

import numpy as np
from pydantic import AfterValidator

from augpipe.core.errors import UserError, choices, several
from augpipe.data.sources._listing import SPLIT_NAMES, Bad, Fetch, Listing, known_split, labelled

FIELDS: Final = ("label", "group", "split")
BY_CLASS, BY_SPLIT = "{label}/**/*", "{split}/{label}/**/*"


class Place(NamedTuple):
    """What a path says of a picture; "" for what it does not say."""

    label: str
    group: str
    split: str


class Layout:
    """A template of paths. `{label}`, `{group}` and `{split}` take part of a name, `*` any part of one,
    `**` any folders or none. A field that stands twice is joined with `/`."""

    def __init__(self, template: str) -> None:
        self.template = template
        fields = re.findall(r"\{([^}]*)\}", template)
        for name in fields:
            if name not in FIELDS:
                raise ValueError(
                    f"unknown field {{{name}}} in the layout {template!r}; have {', '.join(FIELDS)}"
                )
        if "label" not in fields:
            raise ValueError(f"the layout {template!r} has no {{label}}; one like {BY_CLASS!r} has")
        self.fields = fields
        self._pattern = re.compile(_expression(template))

    def match(self, path: str) -> Place | None:
        """The fields of a path with `/`; None where it is of another form."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        told: dict[str, list[str]] = {name: [] for name in FIELDS}
        for name, part in zip(self.fields, found.groups(), strict=True):
            told[name].append(part)
        return Place(*("/".join(told[name]) for name in FIELDS))


def _expression(template: str) -> str:
    """The template as a regular expression; fields and stars never cross a folder."""
    parts = []
    for segment in template.strip("/").split("/"):
        if segment == "**":
            parts.append(r"(?:[^/]+/)*")
            continue
        tokens = re.split(r"(\{[^}]*\}|\*+)", segment)
        told = [_token(token) for token in tokens if token]
        parts.append("".join(told) + "/")
    return "".join(parts).removesuffix("/")


def _token(token: str) -> str:
    if token.startswith("{"):
        return r"([^/]+?)"
    return r"[^/]*?" if token.startswith("*") else re.escape(token)


def _checked(template: str) -> str:
    Layout(template)
    return template


Template = Annotated[str, AfterValidator(_checked)]


def arrange(
    paths: Sequence[str],
    template: str | None,
    classes: tuple[str, ...] | None,
    where: str,
    opening: Callable[[Sequence[str]], Fetch],
    folders: Sequence[str] = (),
) -> Listing:
    """Paths relative to a root → the listing their layout gives; without one it is `layout_of`'s.

    opening: ids → how they are fetched. folders: all there are, so that a class folder without a picture is
    seen. UserError where there is no class.
    """
    layout = Layout(template or layout_of(paths, where))
    found = [(path, layout.match(path)) for path in paths]
    own = "lies in no class folder" if template is None else "is not of the layout"
    bad = tuple(Bad(path, f"{own} {layout.template}") for path, told in found if told is None)
    sound = [(path, told) for path, told in found if told is not None]
    empty = _class_folders(folders, layout, sound) if template is None else []
    names = [told.label for _, told in sound]
    if not names and not empty and template is not None and paths:
        raise UserError(
            f"no picture of {where} is of the layout {template!r}; one is called {paths[0]!r}"
        )
    if not names and not empty:
        raise UserError(
            f"{where} needs a sub-folder of pictures for each of at least 2 classes; has none"
        )
    labels, classes = labelled([*names, *empty], classes, where)
    kept = [(*one, label) for one, label in zip(sound, labels, strict=False) if label >= 0]
    ids = [path for path, _, _ in kept]
    splits = [told.split and known_split(told.split, f"{where}, {path}") for path, told, _ in kept]
    left = len(names) - len(kept)
    return Listing(
        ids=ids,
        labels=np.array([label for _, _, label in kept], np.int64),
        classes=classes,
        fetch=opening(ids),
        groups=np.array([told.group or path for path, told, _ in kept], object)
        if "group" in layout.fields
        else None,
        splits=np.array(splits, object) if "split" in layout.fields else None,
        bad=bad,
        notes=(
            *_notes(ids, layout, template),
            *([f"{several(left, 'picture')} of other classes left out"] if left else []),
        ),
    )


def _class_folders(
    folders: Sequence[str], layout: Layout, sound: list[tuple[str, Place]]
) -> list[str]:
    """Class folders without a picture: classes that were meant."""
    depth = layout.template.count("/") - 2
    names = {folder.split("/")[depth] for folder in folders if folder.count("/") == depth}
    return sorted(names - {told.label for _, told in sound})


def _notes(paths: Sequence[str], layout: Layout, template: str | None) -> tuple[str, ...]:
    if template is not None:
        return ()
    notes = []
    if layout.template == BY_SPLIT:
        notes.append(
            f"the folders train, val and test are taken as the split; layout: '{BY_CLASS}' reads them as classes"
        )
    if any(path.count("/") >= layout.template.count("/") for path in paths):
        of = layout.template.removesuffix("**/*")
        notes.append(
            "pictures lie in sub-folders of the classes; where each is a patient or a person, say "
            f"layout: '{of}{{group}}/*' so that none stands on two sides of the split"
        )
    return tuple(notes)


def layout_of(paths: Iterable[str], where: str) -> str:
    """By split where the first folders are called train and test or val, else by class; UserError for a mixture."""
    first = {path.split("/", 1)[0] for path in paths if "/" in path}
    named = {SPLIT_NAMES.get(name.lower()) for name in first}
    if "train" not in named or len(named - {None}) < 2:
        return BY_CLASS
    if None in named:
        others = sorted(name for name in first if name.lower() not in SPLIT_NAMES)
        raise UserError(
            f"{where} holds train and test beside {choices(others[:5])}: are they sides of a split or classes? "
            f"layout: '{BY_SPLIT}' or '{BY_CLASS}' says it"
        )
    return BY_SPLIT


def without_shared_top(paths: Sequence[str]) -> int:
    """How many letters of a folder that all paths share can go: what a zip program wraps around all."""
    cut = 0
    while True:
        firsts = {path[cut:].split("/", 1)[0] for path in paths}
        inner = all(path[cut:].count("/") >= 2 for path in paths)
        if len(firsts) != 1 or not inner or firsts & set(SPLIT_NAMES):
            return cut
        cut += len(firsts.pop()) + 1
