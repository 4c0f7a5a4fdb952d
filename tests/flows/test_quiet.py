"""Warnings and logs that the command does not show."""

from __future__ import annotations

import errno
import logging
from concurrent.futures.process import BrokenProcessPool

from augpipe.core.errors import RunError, UserError
from flows import quiet


def test_what_the_command_reports_itself_is_not_logged_too() -> None:
    def record(error: BaseException | None, line: str = "m") -> logging.LogRecord:
        raised = (type(error), error, None) if error else None
        return logging.LogRecord("x", logging.ERROR, "f", 1, line, (), raised)

    full = OSError(errno.ENOSPC, "full")
    for known in (UserError("x"), RunError("x"), BrokenProcessPool("x"), KeyboardInterrupt(), full):
        assert not quiet.is_news(record(known))
    assert not quiet.is_news(record(None, "Crash detected! Execution was aborted by a signal"))
    assert quiet.is_news(record(ValueError("x")))
    assert quiet.is_news(record(None))
