"""Groups, weights and splits of the images of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import UserError, choices
from augpipe.data.sources._array_names import SPLIT, SPLIT_LIKE, Names
from augpipe.data.sources._array_text import check_readable, texts_of
from augpipe.data.sources._groups import grouped, plain_groups
from augpipe.data.sources._listing import SPLIT_NAMES, SPLITS
from augpipe.data.sources._settings import setting
from augpipe.data.sources._split_columns import is_split, present
from augpipe.data.sources._unused import is_group_name

CLASS_NAMES: Final = ("class_names", "target_names")  # the first that the file has
FEW: Final = 20  # different values of an array that divides the images
UNUSED: Final = "set source.official=false to leave it unused"


class Settings(Protocol):
    """What the config of arrays says of those beside the images."""

    @property
    def groups(self) -> str: ...
    @property
    def ignore(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> tuple[str, ...]: ...


def require_in_all(what: str, names: Sequence[str], parts: Sequence[Any], path: Path, absent: str) -> None:
    """UserError if only some splits have an array of groups or weights.

    names: of the array in each split; parts: its values, or None. absent: how an image without a value is written.
    """
    missing = [name for name, part in zip(names, parts, strict=True) if part is None]
    have = [name for name, part in zip(names, parts, strict=True) if part is not None]
    if missing and have:
        raise UserError(
            f"{path} has {choices(have)} but not {choices(missing)}: give every split its {what}{absent}, or set "
            f"{setting('source.ignore', (what,))} to leave them unused"
        )


def groups_of(
    parts: Sequence[NDArray[Any] | None], ids: NDArray[np.object_], setting: str, path: Path
) -> tuple[NDArray[np.object_] | None, tuple[str, ...]]:
    """Concatenated groups as text, None if there are none; and a note of the images without."""
    values = [plain_groups(part) for part in parts if part is not None]
    if not values:
        return None, ()
    return grouped(np.concatenate(values), ids, setting, f"the file {path}")


def weights_of(parts: Sequence[NDArray[Any] | None], path: Path) -> NDArray[np.float64] | None:
    """Concatenated weights; None if there are none; UserError if one is not above 0."""
    values = [np.asarray(part, np.float64) for part in parts if part is not None]
    if not values:
        return None
    weights = np.concatenate(values)
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise UserError(f"weights of {path} must be numbers above 0")
    return weights


def splits_of(
    others: Mapping[str, NDArray[Any]], n: int, ignored: Sequence[str], path: Path
) -> NDArray[np.object_] | None:
    """The split of each of n images by the array `split`, None if there is none.

    others: arrays beside the images. UserError if it has other words than those of splits, or if another array divides
    the images and would be passed over.
    """
    names = [name for name in others if name not in ignored]
    if SPLIT in names:
        values = [str(value).strip().lower() for value in others[SPLIT]]
        unknown = sorted(set(values) - set(SPLIT_NAMES))
        if unknown or len(values) != n:
            problem = f"the value {unknown[0]!r}" if unknown else f"{len(values)} values"
            raise UserError(
                f"the array {SPLIT} of {path} has {problem}: save one of {choices(SPLIT_NAMES)} as text for each of "
                f"the {n} images, or {UNUSED}"
            )
        return np.array([SPLIT_NAMES[value] for value in values], object)
    for name in names:
        by_name = SPLIT_LIKE.fullmatch(name) and 0 < len(others[name]) <= n
        if (by_name and _few(others[name], n)) or is_split(name, present(others[name])):
            raise UserError(
                f"{path} has the array {name!r}, which looks like the split and is not used: save an array {SPLIT} "
                f"with train, val or test as text for each image, or {UNUSED}"
            )
    return None


def _few(values: NDArray[Any], n: int) -> bool:
    """Whether an array has few different values for n images, or is a list of some of them."""
    return len(values) < n or len(set(values.tolist())) <= FEW


def others_of(path: Path, names: Names, split: str, have: Sequence[str], config: Settings) -> dict[str, NDArray[Any]]:
    """Arrays of the split, and of no split, that are not used, by their name without it;
    one of another form is empty.
    """
    used = {
        *CLASS_NAMES,
        *(
            names.of(s, what)
            for s in ("", *SPLITS)
            for what in (
                "images",
                "labels",
                "weights",
                config.groups,
                *(name for name in config.attributes if not is_group_name(name)),
            )
            if what not in config.ignore
        ),
    }
    others = {}
    for name in have:
        inner = names.inner(split, name)
        if name in used or (inner is None and any(names.inner(s, name) for s in SPLITS)):
            continue  # used, or of another split
        what = inner or name
        for column, values in texts_of(path, name).items():
            if column not in used:
                others[what + column.removeprefix(name)] = values
        no_groups = names.of(split, config.groups) not in have
        if no_groups and what not in config.ignore and is_group_name(what):
            check_readable(path, name, what)
    return others
