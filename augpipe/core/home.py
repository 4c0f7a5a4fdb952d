"""`AUGPIPE_HOME`: the folder of all data that persists between runs, and how large and how old its store may be."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from augpipe.core.errors import UserError

LIMIT: Final = "20GB"
AGES: Final = {"m": 60.0, "h": 3600.0, "d": 86400.0}
UNITS: Final = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def make_home() -> Path:
    """Create the folder if it is missing, readable by its user only:
    it contains images, and models that may memorise some.
    """
    folder = home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, if missing.

    One directly below AUGPIPE_HOME is readable by its user only, whatever the mode of a home that was there before.
    UserError if it, or a part of its path, is a file.
    """
    folder = folder.absolute()
    try:
        for base in (home(), home().resolve()):
            if folder.is_relative_to(base):
                make_home()
                for name in folder.relative_to(base).parts[:1]:
                    (base / name).mkdir(mode=0o700, exist_ok=True)
                break
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be a folder: {error.filename} is a file; move it away") from None


def home() -> Path:
    """`AUGPIPE_HOME`, by default `data/` of the working directory."""
    place = Path(os.environ.get("AUGPIPE_HOME") or "data")
    try:
        return place.expanduser().absolute()
    except RuntimeError:
        raise UserError(f"AUGPIPE_HOME {str(place)!r} begins with a user's home, which is not known") from None


def weights_folder() -> Path:
    """Folder of published weights."""
    return home() / "weights" / "checkpoints"


def store_limit() -> int:
    """Bytes that the store may hold after a run: `AUGPIPE_STORE_LIMIT`, by default LIMIT."""
    text = os.environ.get("AUGPIPE_STORE_LIMIT") or LIMIT
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]B)", text.strip())
    if not match:
        raise UserError(f"AUGPIPE_STORE_LIMIT must be a size such as 500MB, 20GB or 1TB; got {text!r}")
    return int(float(match[1]) * UNITS[match[2]])


def age_seconds(text: str) -> float:
    """`90m`, `12h`, `7d` → seconds; UserError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", text.strip())
    if not match:
        raise UserError(f"an age must be a number of minutes, hours or days such as 90m, 12h or 7d; got {text!r}")
    return float(match[1]) * AGES[match[2]]
