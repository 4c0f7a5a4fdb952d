"""Paths of a table that are no files: what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, listed
from pictures import noise, save

from augpipe.core.errors import UserError


@pytest.mark.parametrize("path", [r"C:\data\img\{}.png", "/home/me/img/{}.png", "img/{}.jpg"])
def test_paths_of_another_place_have_a_hint(tmp_path: Path, path: str) -> None:
    images(tmp_path, 3)
    rows = {"path": [path.format(i) for i in range(3)], "label": ["x", "y", "y"]}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match="no path of 3 rows") as caught:
        listed(tmp_path / "m.csv")
    assert f"{path.format(0)} for img/0.png" in str(caught.value)
    pd.DataFrame(rows | {"path": ["img/0.png", *rows["path"][1:]]}).to_csv(tmp_path / "m.csv", index=False)
    (note,) = listed(tmp_path / "m.csv").notes
    assert "2 paths of the table fit no file" in note and f"{path.format(1)} for img/1.png" in note


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a/{}.png", "files of these names are in .*/scans: set source.root=.*/scans$"),
        ("{}", "files of these names are in .*/scans/a: set source.root="),
        ("0{}.png", "such as '00.png': set source.root to the folder that the paths are relative to"),
        ("x{}", "the names of files begin so, such as .*x0_aligned.png; write their names"),
        ("study", "it is a folder; write a row for each picture in it"),
        ("{root}/set/scans/a/{}.png", "they are below .*/scans/a: set source.root=.*/scans/a$"),
        ("x" * 300, "set source.root to the folder that the paths are relative to"),
    ],
)
def test_a_table_none_of_whose_files_is_there_says_where_they_are(tmp_path: Path, written: str, message: str) -> None:
    for i in range(3):
        save(tmp_path / "set" / "scans" / "a" / f"{i}.png", noise(i))
        save(tmp_path / "set" / "scans" / "b" / f"x{i}_aligned.png", noise(9 + i))
    (tmp_path / "set" / "meta" / "study").mkdir(parents=True)
    table = tmp_path / "set" / "meta" / "m.csv"
    pd.DataFrame({"path": [written.format(i, root=tmp_path) for i in range(3)], "label": list("xyy")}).to_csv(
        table, index=False
    )
    with pytest.raises(UserError, match="no path of 3 rows") as caught:
        listed(table)
    assert re.search(message, str(caught.value))


def test_a_table_whose_names_fit_several_files_says_how_to_choose(tmp_path: Path) -> None:
    for part in ("PART_1", "part_1"):
        for i in range(3):
            save(tmp_path / part / f"{i}.png", noise(i))
    pd.DataFrame({"path": ["0", "1", "2"], "label": ["x", "y", "y"]}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"fit several files.*2 files of this name.*set source\.root to the folder"):
        listed(tmp_path / "m.csv")
    assert len(listed(tmp_path / "m.csv", root=tmp_path / "part_1")) == 3
