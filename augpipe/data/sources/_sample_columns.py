"""Groups and splits of WebDataset's samples: keys of their .json files, files of one value, or folders in their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from augpipe.core.errors import unknown
from augpipe.data.sources._groups import grouped
from augpipe.data.sources._shard_contents import Contents
from augpipe.data.sources._tar_samples import few
from augpipe.data.sources._unused import FEWEST, check_folders, groups_of_folders, like_groups, number_of, refuse

if TYPE_CHECKING:  # it imports pandas, which the options do not need
    from augpipe.data.sources._split_columns import OwnSplit


class Options(Protocol):
    """What the config of WebDataset says of groups and splits."""

    @property
    def label(self) -> str: ...
    @property
    def group(self) -> str | None: ...
    @property
    def group_folder(self) -> int | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def splits(self) -> Mapping[str, str]: ...
    @property
    def ignore(self) -> tuple[str, ...]: ...
    @property
    def official(self) -> bool: ...


def groups_of(
    contents: Contents, ids: NDArray[np.object_], config: Options, where: str
) -> tuple[NDArray[np.object_] | None, tuple[str, ...]]:
    """Group of each picture, or None, and a note of those without; UserError if no .json file has the key.

    UserError too if there are none, and folders in the ids are called as groups are.
    """
    if config.group_folder:
        groups = groups_of_folders(ids, config.group_folder, where)
        return grouped(groups, ids, f"source.group_folder={config.group_folder}", where)
    if config.group is None:
        if config.group_folder is None:
            check_folders(ids, where)
        return None, ()
    if config.group not in contents.described:
        raise unknown(f"key of the .json files in source.group of {where}", config.group, contents.described)
    return grouped(np.array(contents.groups, object), ids, f"source.group={config.group}", where)


def split_of(contents: Contents, by_shard: Sequence[str], config: Options, where: str) -> OwnSplit:
    """The split of each picture, and its key in the .json files."""
    from augpipe.data.sources._split_columns import OwnSplit, is_split, may_be_split, own_split, present

    if not config.official:
        return OwnSplit(None)
    columns = dict[str, NDArray[np.object_]]()
    for key, values in contents.described.items():
        likely = may_be_split(key) or is_split(key, present(values.values))
        if key == config.split or (key not in (config.label, config.group) and likely):
            columns[key] = np.full(len(contents.ids), "", object)
            columns[key][values.rows] = values.values
    by_file = np.array([by_shard[s] for s in contents.shards], object) if by_shard else None
    return own_split(columns, by_file, config, where, "key")


def check_unused(
    contents: Contents, labels: NDArray[np.object_], config: Options, where: str, split: str | None
) -> tuple[str, ...]:
    """A note of unused keys of the .json files; UserError if there are no groups and one of them looks like groups."""
    used = {config.group, split, config.label if config.label != "cls" else None}
    unused = {key: None for key in contents.described if key not in used}
    for key in config.ignore:
        if key not in unused:
            raise unknown("key in source.ignore", key, unused)
    like: dict[str, int] = {}
    grouped_already = config.group is not None or config.group_folder
    for key in () if grouped_already else unused:
        have = contents.described[key]
        # Only the pictures that have the key: .json files may have many rare keys.
        if key not in config.ignore and len(have.rows) > FEWEST:
            values = np.array(have.values, object)
            if like_groups(key, values, labels[have.rows]):
                like[key] = number_of(values)
    refuse(like, where, "key", "source.group")
    others = [key for key in unused if key not in config.ignore]
    return (f"not used in {where}: {few(others)}",) if others else ()
