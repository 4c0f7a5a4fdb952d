"""Words of the command line before they are parsed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from augpipe.core.errors import exists

SET: Final = "--set"


def split_sets(words: Sequence[str]) -> list[str]:
    """`--set a=1 b=2` → `--set a=1 --set b=2`: a parser would take a config that follows for a value.

    A word after a value of `--set` is another one if it has a `=` and names no file.
    """
    split, following = list[str](), False
    for at, word in enumerate(words):
        is_value = at > 0 and words[at - 1] == SET
        if following and not is_value and _is_assignment(word):
            split.append(SET)
        elif not is_value:
            following = False
        following = following or is_value or word.startswith(f"{SET}=")
        split.append(word)
    return split


def _is_assignment(word: str) -> bool:
    return "=" in word and not word.startswith(("-", "=")) and not exists(Path(word))
