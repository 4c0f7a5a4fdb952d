"""The command line: options of several commands, and its words before they are parsed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from augpipe.core.errors import exists

SET: Final = "--set"
# Options of several commands. Switches have no --no-... form.
Sets = Annotated[tuple[str, ...], Parameter(name=SET, negative=())]
Out = Annotated[Path | None, Parameter(name="--out")]
Switch = Annotated[bool, Parameter(negative=())]
# The switch of commands whose result is one JSON object on standard output; everything else is on standard error.
Json = Annotated[bool, Parameter(name="--json", negative=())]
# Files of a C2PA signer.
Certificates = Annotated[Path | None, Parameter(name="--c2pa-certificate")]
PrivateKey = Annotated[Path | None, Parameter(name="--c2pa-key")]
Form = Literal["folder", "npz", "webdataset", "hf", "dicom"]


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
