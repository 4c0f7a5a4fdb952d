"""What WebDataset's shards hold: picture, label and group of each key, and the keys of their .json files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, several
from augpipe.data.sources._archive_files import Key
from augpipe.data.sources._listing import Bad
from augpipe.data.sources._nested import single
from augpipe.data.sources._tar_samples import CLS, Sample, as_text, cls_of, few, picture_of, printable, value_of
from augpipe.data.sources._unused import LONGEST_GROUP


class Wanted(NamedTuple):
    """Extension of the picture (None: the plain one), `cls` or the .json file's key of the label,
    and the key of the group.
    """

    image: str | None
    label: str
    group: str | None


@dataclass
class Values:
    """A key of the .json files: the pictures that have it, and their values. unfit: a value that is no group's."""

    rows: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    unfit: bool = False

    def add(self, row: int, value: Any) -> None:
        """Add the value of a picture, unless it cannot be a group's: fractions, lists of several, long text."""
        value = single(value)
        fraction = isinstance(value, float) and not math.isnan(value) and not value.is_integer()
        if self.unfit or fraction or isinstance(value, list | dict):
            self.unfit = True
        else:
            self.rows.append(row)
            self.values.append(printable(as_text(value)))
            self.unfit = len(self.values[-1]) > LONGEST_GROUP
        if self.unfit:
            self.rows, self.values = [], []


@dataclass
class Contents:
    """What all shards hold, in their order: shard, key in it, extension, id, label and group of each picture.

    described: keys of the .json files of these pictures; json_keys: of all. pictures, unused: extension → number of all
    pictures, and of those beside a used one. splits: of each shard, empty without.
    """

    shards: list[int] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    extensions: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    described: dict[str, Values] = field(default_factory=dict)
    pictures: Counter[str] = field(default_factory=Counter)
    json_keys: dict[str, None] = field(default_factory=dict)
    unused: Counter[str] = field(default_factory=Counter)
    bad: list[Bad] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    splits: Sequence[str] = ()

    def add(self, at: tuple[int, str], sample: Sample, wanted: Wanted) -> None:
        """Add the picture of a key, or the reason why it cannot be used.
        at: index of the shard, and the picture's id.
        """
        shard, name = at
        self.pictures.update(sample.pictures.keys())
        self.json_keys |= dict.fromkeys(sample.described[0])
        shown = printable(name)
        label, reason = without_label = _label(sample, wanted.label)
        group = ""
        if wanted.group in sample.described[0] and not reason:
            group, reason = value_of(sample, wanted.group or "")
        extension, without_picture = picture_of(sample, wanted.image)
        reason = without_picture or reason
        if sample.reason or ".." in PurePosixPath(name).parts or shown != name:
            reason = sample.reason or "a name that is not UTF-8 or leaves the archive"
        if reason:
            unlabelled = self.splits and not label and reason == without_label[1]
            self.bad.append(Bad(shown, reason, label, self.splits[shard] if unlabelled else ""))
            return
        for key, value in sample.described[0].items():
            self.described.setdefault(key, Values()).add(len(self.ids), value)
        self.shards.append(shard)
        self.keys.append(sample.pictures[extension])
        self.extensions.append(extension)
        self.ids.append(name)
        self.labels.append(label)
        self.groups.append(group)
        self.unused.update(sample.pictures.keys() - {extension})

    def check_ids(self, paths: Sequence[Path]) -> None:
        """UserError if two pictures have one id, as `b/7` in the shard `a` and `7` in the shard `a/b`."""
        seen: dict[str, int] = {}
        for name, shard in zip(self.ids, self.shards, strict=True):
            other = seen.setdefault(name, shard)
            if other != shard:
                raise UserError(
                    f"the pictures {name!r} of {paths[other]} and {paths[shard]} have one name: rename one of the files"
                )

    def of_another_kind(self, image: str | None) -> NDArray[np.bool_]:
        """Keys whose only picture has a longer extension than others' (N,):
        `7.mask.png` where the others have `8.png`.
        """
        longer = np.array(["." in extension for extension in self.extensions], bool)
        return longer if image is None and not longer.all() else np.zeros(len(longer), bool)

    def pictures_note(self, where: str) -> tuple[str, ...]:
        """A note of the pictures that are not used."""
        shown = few([f"{n} .{extension}" for extension, n in sorted(self.unused.items())])
        unused = several(self.unused.total(), "picture")
        note = f"{unused} of {where} not used: {shown}; source.image chooses the extension"
        return (note,) if self.unused else ()


def _label(sample: Sample, wanted: str) -> tuple[str, str]:
    """Label of a key and "", or "" and the reason why it has none."""
    if wanted == CLS:
        return cls_of(sample)
    label, reason = value_of(sample, wanted, several=True)
    return label, reason if label or reason else "no label"
