"""`AUGPIPE_HOME`: the folder of all data that persists between runs."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`AUGPIPE_HOME`, by default `data/` of the working directory."""
    return Path(os.environ.get("AUGPIPE_HOME") or "data").expanduser().absolute()
