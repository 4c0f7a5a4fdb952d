"""Addresses and numbers in place of paths."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, listed
from pictures import noise, save


@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/1/abc1230{0}-{0}.png",
        "/data/local-files/?d=img/{0}.png",
        "s3://bucket/x/img/{0}.png",
        "https://host/img/{0}%2Epng?token=3",
        "file://{root}/img/{0}.png",
    ],
)
def test_addresses_are_the_files_that_fit_their_ends(tmp_path: Path, path: str) -> None:
    images(tmp_path, 3)
    written = [path.format(i, root=tmp_path) for i in range(3)]
    pd.DataFrame({"path": written, "label": ["x", "y", "y"]}).to_csv(tmp_path / "m.csv", index=False)
    listing = listed(tmp_path / "m.csv")
    assert listing.ids == ["img/0.png", "img/1.png", "img/2.png"]
    assert listing.notes == (f"3 paths of the table completed: {written[0]} is img/0.png",)


def test_addresses_of_other_files_fit_none(tmp_path: Path) -> None:
    """Of two that end alike, each may be the file that is there; another suffix is another file."""
    images(tmp_path, 3)
    written = ["s3://b/a/0.png", "s3://b/c/0.png", "s3://b/a/1.jpg", "s3://b/a/2.png"]
    pd.DataFrame({"path": written, "label": ["x", "x", "x", "y"]}).to_csv(tmp_path / "m.csv", index=False)
    listing = listed(tmp_path / "m.csv")
    assert listing.ids == ["img/2.png"]
    assert [bad.reason for bad in listing.bad] == [
        "row 1: 2 addresses fit the file img/0.png",
        "row 2: 2 addresses fit the file img/0.png",
        "row 3: file does not exist",
    ]


@pytest.mark.parametrize(
    ("written", "columns"), [("{}", {}), ("{}.0", {}), ("img/{}.png", {}), ("{}", {"path": "{path}.png"})]
)
def test_numbers_whose_zeros_a_spreadsheet_dropped(tmp_path: Path, written: str, columns: dict[str, str]) -> None:
    for i in range(3):
        save(tmp_path / "img" / f"{i:04d}.png", noise(i))
    rows = {"path": [written.format(i) for i in range(3)], "label": ["x", "y", "y"]}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    listing = listed(tmp_path / "m.csv", columns=columns)
    assert listing.ids == ["img/0000.png", "img/0001.png", "img/0002.png"]
    (note,) = listing.notes
    assert "3 paths of the table completed" in note and "3 numbers without the zeros" in note
    save(tmp_path / "img" / "001.png", noise(9))  # two files of one number: neither is chosen
    (bad,) = listed(tmp_path / "m.csv", columns=columns).bad
    assert bad.reason.startswith("row 2: 2 files of this name: img/0001.png, img/001.png")
