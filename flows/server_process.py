"""Uvicorn in a process that ends with the one that started it; run as a script, with uvicorn's arguments.

Its standard input is a pipe from that process. However that process ends, also by SIGKILL, the system closes the pipe.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def end_with_input() -> None:
    """End this process when standard input is closed."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    if sys.path[0] == str(Path(__file__).parent):  # its modules have names that others have too
        sys.path.pop(0)
    threading.Thread(target=end_with_input, daemon=True).start()
    import uvicorn

    uvicorn.main()
