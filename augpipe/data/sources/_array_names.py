"""Which arrays of an .npz are its images and labels, and the splits in their names."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._foreign import labels_beside
from augpipe.data.sources._listing import SPLIT_NAMES, SPLITS
from augpipe.data.sources._npy import BROKEN, head

IMAGES: Final = ("images", "image", "x", "X", "data")
LABELS: Final = ("labels", "label", "y", "Y", "targets", "target")
# MedMNIST's and our own; Keras's; scikit-learn's. Other pairs of these names are read with a note.
USUAL: Final = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target"))
WHOLE: Final = "{what}"
DIVIDED: Final = ("{split}_{what}", "{what}_{split}")
UNNAMED: Final = ("arr_0", "arr_1")  # names of np.savez(path, images, labels)
RENAME: Final = "save them by name: np.savez(path, images=..., labels=...)"
SPLIT: Final = "split"  # the array of each image's split
# Arrays that divide the images: `is_test`, `train_mask`, `val_idx`, `fold`.
SPLIT_LIKE: Final = re.compile(
    r"(is|in)?_?(train|val|valid|validation|test)_?(mask|flag|idx|index|indices|ids|rows)?"
    r"|splits?|sets?|subsets?|partitions?|folds?",
    re.IGNORECASE,
)


class Names(NamedTuple):
    """How an .npz names its arrays: images, labels, and the name of an array of a split.

    spelling: splits → how the file spells them, such as `valid` for val.
    """

    images: str
    labels: str
    pattern: str = WHOLE
    spelling: Mapping[str, str] = {}

    def of(self, split: str, what: str) -> str:
        """Name of an array of the split."""
        what = {"images": self.images, "labels": self.labels}.get(what, what)
        return self.pattern.format(split=self.spelling.get(split, split), what=what)

    def inner(self, split: str, name: str) -> str | None:
        """Name of an array without its split; None if it is not one of this split."""
        spelled = self.spelling.get(split, split)
        before, _, after = self.pattern.format(split=spelled, what="|").partition("|")
        inner = name.removeprefix(before).removesuffix(after)
        return inner if inner and f"{before}{inner}{after}" == name else None

    def note(self) -> tuple[str, ...]:
        """A note of the chosen arrays if the pair of their names is not a usual one."""
        if (self.images, self.labels) in USUAL:
            return ()
        return (f"the arrays {self.images} and {self.labels} are read as images and labels",)


def form_of(path: Path, have: Sequence[str], needs_train: bool = True) -> tuple[Names, list[str]]:
    """The names of images and labels among the arrays, and the splits, [""] if there are none.

    UserError if there are no images, or images both with and without a split. needs_train: or only of val and test.
    """
    shapes = {name: _shape(path, name) for name in have}
    whole = _best([(names, [""]) for names in _whole(shapes)], shapes)
    divided = _best(_divided(path, have), shapes)
    ranked = [(form, _rank(form, shapes)) for form in (whole, divided) if form is not None]
    best = [form for form, rank in ranked if rank == min(rank for _, rank in ranked)]
    if len(best) > 1:
        both = " and ".join(names.of(splits[0], "images") for names, splits in best)
        raise UserError(f"{path} has both {both}, which is ambiguous; it has {choices(have)}")
    if not best:
        raise UserError(
            f"{path} has neither images and labels nor train_images and train_labels, x_train and y_train, x and y; "
            f"it has {choices(have)}: {RENAME}{labels_beside(path)}"
        )
    names, splits = best[0]
    if needs_train and splits != [""] and "train" not in splits:
        raise UserError(f"{path} has no {names.of('train', 'images')}; it has {choices(have)}")
    return best[0]


def _best(
    forms: Sequence[tuple[Names, list[str]]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Names, list[str]] | None:
    """The form with images and labels, preferably of an image's shape and a usual pair of names; else the first."""
    return min(
        forms, key=lambda form: (*_rank(form, shapes), (form[0].images, form[0].labels) not in USUAL), default=None
    )


def _rank(form: tuple[Names, list[str]], shapes: Mapping[str, tuple[int, ...]]) -> tuple[bool, bool]:
    """(no labels, no images by their shape)."""
    names, splits = form
    images, labels = (names.of(splits[0], what) for what in ("images", "labels"))
    return labels not in shapes, len(shapes[images]) not in (3, 4)


def _whole(shapes: Mapping[str, tuple[int, ...]]) -> list[Names]:
    forms = [Names(*pair) for pair in (*USUAL, *product(IMAGES, LABELS)) if pair[0] in shapes]
    if forms or {name for name in shapes if name.startswith("arr_")} != set(UNNAMED):
        return forms
    pairs = (UNNAMED, UNNAMED[::-1])
    return [Names(i, y) for i, y in pairs if _fit(shapes[i], shapes[y])]


def _fit(images: tuple[int, ...], labels: tuple[int, ...]) -> bool:
    return len(images) in (3, 4) and len(labels) in (1, 2) and images[0] == labels[0]


def _divided(path: Path, have: Sequence[str]) -> list[tuple[Names, list[str]]]:
    """Every form whose images have a split in their names; UserError if two names mean one split."""
    forms = []
    for pattern, images in product(DIVIDED, IMAGES):
        spelling: dict[str, str] = {}
        for word, split in SPLIT_NAMES.items():
            name = pattern.format(split=word, what=images)
            if name not in have:
                continue
            if split in spelling:
                first = pattern.format(split=spelling[split], what=images)
                raise UserError(f"{path} has both {first} and {name}: only one can be {split}")
            spelling[split] = word
        if spelling:
            splits: list[str] = [split for split in SPLITS if split in spelling]
            forms += [(Names(images, labels, pattern, spelling), splits) for labels in LABELS]
    return forms


def _shape(path: Path, name: str) -> tuple[int, ...]:
    """Shape of an array; () if it cannot be read, which is reported where it is used."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            return head(stream, name)[0]
    except (*BROKEN, UserError):
        return ()


def form_of_file(path: Path, needs_train: bool = True) -> tuple[Names, list[str], list[str]]:
    """Names of the arrays of an .npz, its splits ([""] for none), and all its arrays;
    UserError if it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"the file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    have = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
    return *form_of(path, have, needs_train), have
