"""A schedule of five fields, checked without Prefect, whose import takes seconds."""

from __future__ import annotations

import re
from typing import Final

from augpipe.core.errors import UserError

ADVICE: Final = "--cron takes minute, hour, day of month, month and day of week, as in '0 2 * * *'"
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, least and greatest number of each field, and its words with the number of the first.
FIELDS: Final = (
    ("minute", 0, 59, (), 0),
    ("hour", 0, 23, (), 0),
    ("day of month", 1, 31, (), 0),
    ("month", 1, 12, MONTHS, 1),
    ("day of week", 0, 7, DAYS, 0),
)
LAST: Final = re.compile(r"l\d?|\d{1,2}l|\w{1,3}#[1-5l]", re.ASCII)  # as `l`, `5l`, `fri#2`
PART: Final = re.compile(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)


def check_cron(text: str) -> None:
    """UserError for a text that is no schedule; one that needs Prefect to decide passes."""
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise UserError(f"{ADVICE}; got {text!r}")
    for field, (name, least, most, words, first) in zip(fields, FIELDS, strict=True):
        for part in field.lower().split(","):
            if LAST.fullmatch(part):
                continue
            match = PART.fullmatch(part)
            numbers = [
                words.index(value) + first if value in words else value
                for value in (match.groups()[:2] if match else ())
                if value is not None
            ]
            for number in numbers:
                if not str(number).isdecimal() or not least <= int(number) <= most:
                    raise UserError(f"{ADVICE}; {name} {field!r} of {text!r} is not from {least} to {most}")
            if match is None or match[3] == "0":
                raise UserError(f"{ADVICE}; got {name} {field!r} in {text!r}")
