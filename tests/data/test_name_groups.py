"""Copies of one original, and frames of one track, in the names of files."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from advice import printed, touched, typed


def hashed(*numbers: int) -> str:
    return f"{hash(numbers) % 2**128:032x}"


COPIES = {
    "Roboflow": [f"{c}/IMG_{c}{i}_jpg.rf.{hashed(i, k)}.jpg" for c in "ab" for i in range(4) for k in range(3)],
    "Roboflow with a split": [
        f"{side}/{c}/{side}.{c}{i}_jpg.rf.{hashed(i, k)}.jpg"
        for side, n in (("train", 3), ("valid", 1), ("test", 1))
        for c in "ab"
        for i in range(4)
        for k in range(n)
    ],
    "words": [f"{c}/my_{c}{i}_aug_{k}.png" for c in "ab" for i in range(4) for k in range(2)],
    "UUIDs": [f"{c}/x_{c}_{i}_{UUID(int=2**127 + i + k)}.png" for c in "ab" for i in range(4) for k in range(2)],
}
TRACKS = {
    "GTSRB": [f"{c:05d}/{t:05d}_{f:05d}.ppm" for c in range(3) for t in range(4) for f in range(5)],
    "lengths differ": [f"{c}/deep/{c}v{t}-{f}.png" for c in "ab" for t in range(4) for f in range(1, 4 + t)],
}


@pytest.mark.parametrize("case", [*COPIES, *TRACKS])
def test_groups_that_names_of_files_show_are_noted_with_a_layout(tmp_path: Path, case: str) -> None:
    paths = {**COPIES, **TRACKS}[case]
    notes = [note for note in typed(touched(tmp_path, *paths)).notes if note.startswith(f"the names of {len(paths)} f")]
    assert len(notes) == 1 and ("frames of one track" if case in TRACKS else "copies of one original") in notes[0]
    images = typed(tmp_path, *printed(notes[0]))
    assert not images.bad and len(images) == len(paths)
    by_name = {Path(one).name: group for one, group in zip(images.ids, images.groups, strict=True)}
    sign = {"Roboflow": ".rf.", "Roboflow with a split": ".rf.", "words": "_aug", "lengths differ": "-"}.get(case, "_")
    cut = (lambda name: name.split(sign)[0]) if case != "UUIDs" else (lambda name: name.rpartition("_")[0])
    assert by_name == {Path(path).name: cut(Path(path).name) for path in paths}


def test_copies_beside_their_originals_need_a_table(tmp_path: Path) -> None:
    """No layout reads both."""
    paths = [f"{c}/{c}{i}{end}.png" for c in "ab" for i in range(4) for end in ("", "_flip", "_rot90")]
    (note,) = typed(touched(tmp_path, *paths)).notes
    assert note.startswith("the names of 24 files are those of copies") and "write them into a table with a col" in note


@pytest.mark.parametrize(
    "paths",
    [
        [f"{c}/{c}_{hashed(i)}.png" for c in "ab" for i in range(12)],  # the class's name
        [f"{c}/{c:04d}_{i:02d}.png" for c in range(6) for i in range(4)],  # its number
        [f"{c}/{kind}_{hashed(i, k)}.png" for c in "ab" for k, kind in enumerate("pqrs") for i in range(24)],  # kinds
        [f"{c}/{i}_{i % 3}.png" for c in "ab" for i in range(12)],  # numbers that do not begin anew
        [f"{c}/flip_{i}.png" for c in "ab" for i in range(6)],
    ],
)
def test_names_that_show_no_groups(tmp_path: Path, paths: list[str]) -> None:
    assert not typed(touched(tmp_path, *paths)).notes
