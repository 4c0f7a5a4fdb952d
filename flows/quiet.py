"""Keep out of the log what the command reports in one line."""

from __future__ import annotations

import logging
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from augpipe.core.errors import FULL_WORDS, RunError, UserError, is_full

from .home_watch import is_home_deleted
from .signals import received

# Loggers that repeat the error of a flow or a task.
LOGGERS: Final = (
    "augpipe",  # of files that are damaged because they are being deleted
    "prefect",
    "prefect.flow_runs",
    "prefect.task_runs",
    "mlflow.store.db.utils",
    "mlflow.exceptions",  # of a code in an answer that is not MLflow's
    "asyncio",  # of callbacks that a signal ended
)
KNOWN: Final = (UserError, RunError, BrokenProcessPool, KeyboardInterrupt, SystemExit)
# Prefect logs that a signal ended a flow, and that a worker's end broke the pool.
WORDS: Final = (
    "UserError",
    "RunError",
    "TrackingLostError",
    "BrokenProcessPool",
    "Crash detected!",
    "Finished in state Crashed",
    "Received error code not recognized by MLflow",
    *FULL_WORDS,
)


def quiet_logs(worker: bool = False) -> None:
    """Drop from the logs of Prefect and MLflow the errors that the command reports itself.

    worker: drop Prefect's services too. They cannot complete an event without the server, whose loss the run reports.
    """
    for name in LOGGERS:
        logging.getLogger(name).addFilter(is_news)
    if worker:
        # A filter: Prefect sets levels anew with each task.
        logging.getLogger("prefect._internal.concurrency").addFilter(nothing)


def is_news(record: logging.LogRecord) -> bool:
    """Logging filter: False for an error that ends the command with one line (see `exits`)."""
    if received() is not None or is_home_deleted():
        return False
    error = record.exc_info[1] if record.exc_info else None
    line = record.getMessage()
    return not (isinstance(error, KNOWN) or is_full(error) or any(words in line for words in WORDS))


def nothing(record: logging.LogRecord) -> bool:
    """Logging filter: drop everything."""
    return False
