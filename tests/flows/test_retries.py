"""Calls that are tried again."""

from __future__ import annotations

import pytest

from augpipe.core.errors import UserError
from flows.retries import retried


def test_what_passes_is_tried_again_outside_of_tasks_too() -> None:
    errors: list[Exception] = [ConnectionError("away"), TimeoutError("slow")]

    def read() -> str:
        if errors:
            raise errors.pop(0)
        return "read"

    assert retried(read, delays=(0, 0)) == "read"
    errors[:] = [ConnectionError("away"), UserError("wrong")]
    with pytest.raises(UserError):
        retried(read, delays=(0, 0))
    errors[:] = [ConnectionError(str(i)) for i in range(3)]
    with pytest.raises(ConnectionError, match="2"):
        retried(read, delays=(0, 0))
