"""What a source of class folders may be set to."""

from __future__ import annotations

from typing import Protocol


class Options(Protocol):
    """Options of a source of class folders."""

    @property
    def layout(self) -> str | None: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...
    @property
    def include(self) -> tuple[str, ...]: ...
    @property
    def exclude(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> tuple[str, ...]: ...
