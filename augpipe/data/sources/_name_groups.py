"""Groups that the names of files show: copies of one original, and the frames of one track."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from augpipe.data.sources._unused import FEWEST

# An original's name, what marks a copy of it, and the rest: Roboflow's `IMG_1_jpg.rf.0a1b….jpg`, `7_aug_3.png`,
# `7_hflip.png`, or a name with a hash.
COPIES: Final = (
    re.compile(r"(.+)(\.rf\.)[0-9a-z]{16,}", re.IGNORECASE),
    re.compile(
        r"(.+?)([ _.-](?:aug(?:mented|mentation)?|[hv]?flip(?:ped)?|rot(?:ated?|ation)?|mirror(?:ed)?))"
        r"(?:[ _.-]?-?\d.*|[ _.-].*)?",
        re.IGNORECASE,
    ),
    re.compile(r"(.+)([ _.-])(?:[0-9a-f]{32,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE),
)
FRAME: Final = re.compile(r"(.*\d)([ _-])(\d+)")  # a track and a frame of it, `00003_00012`
MOSTLY: Final = 0.8  # of the files are frames of a track
LEAST: Final = 2  # frames of a track, tracks and originals of a class
MOST: Final = 20  # copies of an original, on average: more are pictures with a name in common


class Named(NamedTuple):
    """Groups in the names of files: of each file, "" for none, and the end of a layout that may read them."""

    groups: list[str]
    layout: str


def copies_of_originals(paths: Sequence[str], classes: Sequence[str]) -> Named | None:
    """The originals of files that are copies by their names, if some original has several files; else None.

    A class has several originals: a single one is the class's own name, and few are kinds.
    """
    stems = [_stem(path) for path in paths]
    for pattern in COPIES:
        matches = [pattern.fullmatch(stem) for stem in stems]
        groups = [match[1] if match else "" for match in matches]
        originals = set(groups) - {""}
        groups = [group or (stem if stem in originals else "") for group, stem in zip(groups, stems, strict=True)]
        used = [group for group in groups if group]
        fewest = min(len(used) - 1, LEAST * len(set(classes)))
        if used and max(fewest, len(used) / MOST) <= len(set(used)) < len(used):
            marks = {match[2] for match in matches if match}
            end = "*" if len(min(marks)) > 1 else "*.*"
            return Named(groups, f"{{group+}}{min(marks)}{end}")
    return None


def tracks(paths: Sequence[str], classes: Sequence[str]) -> Named | None:
    """The tracks of files that are numbered within each from 0 or 1 on, as GTSRB's `00003_00012`; None if most are not.

    A class has several tracks: a single one is the class's own number.
    """
    matches = [FRAME.fullmatch(_stem(path)) for path in paths]
    frames: dict[tuple[str, str], list[int]] = {}
    for match, label in zip(matches, classes, strict=True):
        if match:
            frames.setdefault((label, match[1]), []).append(int(match[3]))
    sequences = {track for track, numbers in frames.items() if _in_sequence(numbers)}
    n_frames = sum(len(frames[track]) for track in sequences)
    if n_frames < MOSTLY * len(paths) or len(sequences) < max(FEWEST, LEAST * len(set(classes))):
        return None
    groups = [match[1] if match else "" for match in matches]
    signs = {match[2] for match in matches if match}
    return Named(groups, f"{{group+}}{min(signs)}*")


def _in_sequence(numbers: Sequence[int]) -> bool:
    first = min(numbers)
    return len(numbers) >= LEAST and first in (0, 1) and sorted(numbers) == list(range(first, first + len(numbers)))


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name
