"""Uvicorn in a process that ends with the one that started it; run as a script, with uvicorn's arguments.

Its standard input is a pipe from that process. However that process ends, also by SIGKILL, the system closes the pipe.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from pathlib import Path


def end_with_input() -> None:
    """End this process when standard input is closed."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def is_news(record: logging.LogRecord) -> bool:
    """Logging filter: False for connections that are open when the server is stopped, such as that of a page."""
    error = record.exc_info[1] if record.exc_info else None
    stopped = isinstance(error, asyncio.CancelledError)
    return not (stopped or "graceful shutdown exceeded" in record.getMessage())


if __name__ == "__main__":
    if sys.path[0] == str(Path(__file__).parent):  # its modules have names that others have too
        sys.path.pop(0)
    os.umask(0o077)  # its database is for its user only
    threading.Thread(target=end_with_input, daemon=True).start()
    logging.getLogger("uvicorn.error").addFilter(is_news)
    gc.disable()  # as in `entry.main`
    import prefect.server.api.server  # noqa: F401
    import uvicorn

    gc.freeze()
    gc.enable()
    uvicorn.main()
