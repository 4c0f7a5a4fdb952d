"""Checkpoints of a running training: written atomically, resumed only with equal settings."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from augpipe.core.errors import UserError, several
from augpipe.core.files import beside, damaged_part
from augpipe.core.integrity import LOGGER
from augpipe.core.store import load_state


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and its header: everything the result depends on (config, seed, data fingerprint, versions).

    Resuming with another header is refused, because the result would differ from an uninterrupted training.
    disposable: a damaged file is deleted and the training starts again, as the user did not name it.
    """

    path: Path
    header: Mapping[str, Any]
    disposable: bool = False

    def save(self, state: Mapping[str, Any]) -> None:
        """Write to a temporary file and rename it: a process killed while writing leaves the previous checkpoint."""
        with beside(self.path) as draft, draft.open("wb") as stream:
            torch.save({"header": dict(self.header), **state}, stream)

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state, or None without a file; UserError if it is damaged or the header differs."""
        if not self.path.is_file():
            return None
        try:
            state = _read(self.path)
        except UserError as error:
            if not self.disposable:
                raise
            LOGGER.warning("%s; the training starts again", error)
            self.remove()
            return None
        saved = state.pop("header")
        differing = list(differences(saved, self.header))
        if differing:
            more = f" (and {several(len(differing) - 1, 'more difference')})" if differing[1:] else ""
            raise UserError(f"cannot resume {self.path}: {differing[0]}{more}")
        return state

    def remove(self) -> None:
        """Delete the file if it exists."""
        self.path.unlink(missing_ok=True)


class Clocked:
    """Saves to a checkpoint whenever INTERVAL seconds have passed, and less often if writing takes long."""

    INTERVAL: Final = 60.0  # seconds
    SHARE: Final = 20.0  # times the seconds that writing took last

    def __init__(self, checkpoint: Checkpoint, clock: Callable[[], float]) -> None:
        self._checkpoint, self._clock = checkpoint, clock
        self._saved, self._writing = clock(), 0.0

    def save_if_due(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Save what `state` returns, if it is time."""
        start = self._clock()
        if start - self._saved < max(self.INTERVAL, self.SHARE * self._writing):
            return
        self._checkpoint.save(state())
        self._saved = self._clock()
        self._writing = self._saved - start


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; UserError if the file is not one."""
    try:
        if damaged := damaged_part(path):
            raise zipfile.BadZipFile(damaged)
        state = load_state(path)
        if not isinstance(state["header"], Mapping):
            raise TypeError("header")
    except Exception as error:  # reading an arbitrary file can raise anything
        raise UserError(f"{path} is not an augpipe checkpoint, or is damaged ({type(error).__name__})") from None
    return state


def header_of(path: Path) -> dict[str, Any]:
    """Read the header of a checkpoint file; UserError if the file is not one."""
    return dict(_read(path)["header"])


def differences(saved: Any, current: Any, path: str = "") -> Iterator[str]:
    """Yield one phrase per difference between two headers, as `config.width is 0.5 here and was 0.25`."""
    if isinstance(saved, Mapping) and isinstance(current, Mapping):
        for key in [*current, *(k for k in saved if k not in current)]:
            yield from differences(saved.get(key), current.get(key), f"{path}.{key}" if path else str(key))
    elif saved != current:
        yield f"{path} is {current!r} here and was {saved!r}"
