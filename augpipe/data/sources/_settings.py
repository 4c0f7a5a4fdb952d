"""Settings in messages, as `--set` reads them and a shell takes them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from augpipe.core.errors import UserError
from augpipe.core.yaml_loader import as_yaml, read_yaml


def setting(key: str, value: str | Sequence[str]) -> str:
    """`source.columns.group=patient`, in quotes where a shell needs them.

    value: a name, or several; a name that is a list of YAML stays one.
    """
    return shlex.quote(unquoted(key, value))


def unquoted(key: str, value: str | Sequence[str]) -> str:
    """As `setting`, for a command whose words are quoted later."""
    if not isinstance(value, str):
        return f"{key}=[{', '.join(map(as_yaml, value))}]"
    return f"{key}={value if value.startswith('[') or _is_plain(value) else json.dumps(value, ensure_ascii=False)}"


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text as itself; one that it reads as a number is taken as text by options of text."""
    try:
        return str(read_yaml(text, "a name")) == text
    except UserError:
        return False
