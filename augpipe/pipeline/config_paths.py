"""Paths in a config file: relative to the file's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from augpipe.classifiers.options import TRANSFORM_FILES
from augpipe.core.errors import exists
from augpipe.core.integrity import LOGGER
from augpipe.data import sources


def map_paths(values: dict[str, Any], function: Callable[[str], str]) -> None:
    """Replace each path in the values of a config, which need not be valid, by `function` of it."""
    if "source" in values:
        values["source"] = sources.map_paths(values["source"], function)
    generators = values.get("generators")
    for generator in generators.values() if isinstance(generators, dict) else ():
        start = generator.get("start") if isinstance(generator, dict) else None
        for options in (generator, start):
            if isinstance(options, dict) and "source" in options:
                options["source"] = sources.map_paths(options["source"], function)
    arms = values.get("arms")
    for arm in arms if isinstance(arms, list) else ():
        mix = arm.get("mix") if isinstance(arm, dict) else None
        if not isinstance(mix, dict):
            continue
        transform = mix.get("transform")
        if isinstance(transform, str) and transform.lower().endswith(TRANSFORM_FILES):
            mix["transform"] = function(transform)


def from_folder(folder: Path, where: str, text: str) -> str:
    """A path in the config `where`, relative to its folder, as an absolute one.

    One that exists only relative to the working directory is that, with a warning.
    """
    if text.startswith("~") or Path(text).is_absolute():
        return text
    path = folder.absolute() / text
    if ".." in path.parts:
        path = Path(os.path.normpath(folder.resolve() / text))
    if not exists(path) and exists(Path(text)):
        LOGGER.warning(
            "%s: the path %r is relative to the working directory. That is deprecated: write it relative to the "
            "config's folder, or absolute.",
            where,
            text,
        )
        return str(Path(text).absolute())
    return str(path)


def to_folder(folder: Path, text: str) -> str:
    """An absolute path relative to a folder;
    unchanged if both have only the root in common, or links lead elsewhere.
    """
    path = Path(text)
    relative = os.path.relpath(path, folder.resolve())
    common = Path(os.path.commonpath([path, folder.resolve()]))
    same = os.path.normpath(folder.resolve() / relative) == os.path.normpath(path)
    return relative if same and common != Path(path.anchor) else text
