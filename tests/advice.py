"""Options that a message prints, typed as they are printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from pictures import source

from augpipe.data import sources
from augpipe.pipeline.config_values import override


def touched(root: Path, *paths: str) -> Path:
    """Files without content, enough for a listing, which reads none."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def printed(message: str) -> list[str]:
    """The settings `source.…=…` of a message, as a shell reads them."""
    words = re.findall(r"""'source\.\w+=[^']*'|source\.layout='[^']*'""", message)
    return [shlex.split(word)[0] for word in words]


def typed(path: Path, *settings: str) -> sources.Listing:
    """The listing of a path with `--set` settings."""
    config: dict[str, Any] = {"source": sources.suggest(path)}
    for setting in settings:
        override(config, setting)
    return sources.listing(source(**config["source"]))


def commands(message: str) -> list[list[str]]:
    """The commands `augpipe run …` in parentheses of a message: of each the path and its settings."""
    lines = [shlex.split(line) for line in re.findall(r"\(augpipe run (.*?)\)(?=[,;]|$| )", message)]
    return [[word for word in line if word != "--set"] for line in lines]
