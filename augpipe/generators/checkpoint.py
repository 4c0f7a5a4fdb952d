"""Checkpoints of a training that goes on: written atomically, resumed only under equal settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augpipe.core.errors import UserError, several
from augpipe.core.store import beside, load_state


@dataclass(frozen=True)
class Checkpoint:
    """A file and what the training it belongs to follows from: config, seed, data fingerprint, versions.

    A training resumed under another header would not equal an unbroken one, so it is refused.
    """

    path: Path
    header: Mapping[str, Any]

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state beside and rename it: whoever is killed meanwhile leaves the one before."""
        with beside(self.path) as draft, draft.open("wb") as stream:
            torch.save({"header": dict(self.header), **state}, stream)

    def load(self) -> dict[str, Any] | None:
        """The state last saved, None where there is none; UserError that names what differs."""
        if not self.path.is_file():
            return None
        state = _read(self.path)
        there = state.pop("header")
        unlike = list(differences(there, self.header))
        if unlike:
            more = f" (and {several(len(unlike) - 1, 'more difference')})" if unlike[1:] else ""
            raise UserError(f"cannot resume {self.path}: {unlike[0]}{more}")
        return state

    def remove(self) -> None:
        """Take the file away, where it is."""
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's content; UserError for a file that is none."""
    try:
        state = load_state(path)
        if not isinstance(state["header"], Mapping):
            raise TypeError("header")
    except Exception as error:  # whatever reading a foreign file brings up
        raise UserError(
            f"{path} is no checkpoint of augpipe, or a damaged one ({type(error).__name__})"
        ) from None
    return state


def header_of(path: Path) -> dict[str, Any]:
    """What the training of a checkpoint follows from; UserError for a file that is none."""
    return dict(_read(path)["header"])


def differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """What differs between two headers, a phrase each: `config.width is 0.5 here and was 0.25`."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in [*here, *(k for k in there if k not in here)]:
            yield from differences(
                there.get(key), here.get(key), f"{path}.{key}" if path else str(key)
            )
    elif there != here:
        yield f"{path} is {here!r} here and was {there!r}"
