"""The error of folders that may mean several things."""

from __future__ import annotations

from augpipe.core.errors import UserError


class UnclearFoldersError(UserError):
    """Folders of which it is not sure which are the classes. facts: what is there; ways: how to go on."""

    def __init__(self, facts: str, ways: str = "") -> None:
        super().__init__(f"{facts}: {ways}" if ways else facts)
        self.facts, self.ways = facts, ways
