"""`AUGPIPE_HOME`: the folder of all data that persists between runs."""

from __future__ import annotations

import os
from pathlib import Path


def make_home() -> Path:
    """Create the folder if it is missing, readable by its user only: it contains images, and models that may memorise some."""
    folder = home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def home() -> Path:
    """`AUGPIPE_HOME`, by default `data/` of the working directory."""
    return Path(os.environ.get("AUGPIPE_HOME") or "data").expanduser().absolute()
