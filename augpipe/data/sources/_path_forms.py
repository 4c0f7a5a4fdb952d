"""Paths as other programs write them: addresses of files, and numbers whose zeros a spreadsheet dropped."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
UPLOADS: Final = ("/data/upload/", "/data/local-files/")  # of Label Studio
UNIQUE: Final = re.compile(r"[0-9a-f]{6,}-(?=.)")  # which Label Studio writes before a file's name
NUMBER: Final = re.compile(r"(\d+)(?:\.0+)?")


def paths_of_address(text: str) -> list[str]:
    """Paths that the address of a file may mean, the likeliest first: of `s3://bucket/a/1.png` `bucket/a/1.png`.

    Without its query, and also without the characters that Label Studio writes before a name. Empty if the text is no
    address.
    """
    if not ADDRESS.match(text) and not text.startswith(UPLOADS):
        return []
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that are no host
        return []
    within = parse_qs(parts.query).get("d", [""])[0]  # /data/local-files/?d=a/1.png
    host = "" if parts.scheme == "file" else parts.netloc
    path = within or unquote(f"{host}{parts.path}")
    folder, slash, name = path.rpartition("/")
    plain = UNIQUE.sub("", name, count=1) if UNIQUE.match(name) else name
    return list(dict.fromkeys((path, f"{folder}{slash}{plain}")))


def number_in(name: str) -> int | None:
    """The number that a name without suffix is, as spreadsheets write it: of `0007`, `7` and `7.0`; None if it is
    none."""
    match = NUMBER.fullmatch(name)
    return int(match[1]) if match and len(match[1]) < 20 else None
