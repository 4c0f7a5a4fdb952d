"""The error of folders that may mean several things."""

from __future__ import annotations

from augpipe.core.errors import UserError


class UnclearFoldersError(UserError):
    """Folders of which it is not sure which are the classes. facts: what is there; ways: how to go on."""

    def __init__(self, facts: str, ways: str = "") -> None:
        super().__init__(f"{facts}: {ways}" if ways else facts)
        self.facts, self.ways = facts, ways

    def with_hint(self, hint: str) -> UserError:
        """The error with a better way, `; the table … names the pictures`, before the others."""
        if not hint or not self.ways:
            return UserError(f"{self}{hint}")
        return UserError(f"{self.facts}{hint}; or {self.ways}")
