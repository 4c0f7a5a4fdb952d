"""Paths of a table below one root or several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from labelled_tables import listed
from pictures import noise, save, source

from augpipe.core.errors import UserError
from augpipe.data import sources


def parts(root: Path, n: int = 20) -> Path:
    """As HAM10000 is unpacked: pictures in two folders, which are nobody's below the table's."""
    rows = []
    for i in range(n):
        name = f"ISIC_{i:07d}"
        save(root / f"part_{1 + 2 * i // n}" / "deep" / "er" / f"{name}.jpg", noise(i))
        rows.append({"image_id": name, "dx": ("nv", "nv", "mel")[i % 3]})
    (root / "tables").mkdir()
    pd.DataFrame(rows).to_csv(root / "tables" / "meta.csv", index=False)
    return root / "tables" / "meta.csv"


def test_pictures_in_several_roots(tmp_path: Path) -> None:
    path, roots = parts(tmp_path), [tmp_path / "part_1", tmp_path / "part_2"]
    columns = {"path": "image_id", "label": "dx"}
    listing = listed(path, columns=columns, root=roots)
    assert listing.counts() == {"mel": 6, "nv": 14} and not listing.bad
    (first, last) = [str(b) for b in listing.fetch(pd.array([0, 19]).to_numpy())]
    assert first == str(roots[0] / "deep/er/ISIC_0000000.jpg")
    assert last == str(roots[1] / "deep/er/ISIC_0000019.jpg")
    config = source("manifest", path=path, columns=columns, root=roots)
    assert sources.places(config) == tuple(roots)
    with pytest.raises(UserError, match=r"no column names pictures below .*tables: set source\.root"):
        listed(path)
    half = listed(path, columns=columns, root=str(roots[0]))
    assert len(half) == 10 and {b.reason.split(": ")[1] for b in half.bad} == {"file does not exist"}


def test_a_file_in_two_roots_is_refused(tmp_path: Path) -> None:
    path, roots = parts(tmp_path), [tmp_path / "part_1", tmp_path / "part_2"]
    copy = save(roots[1] / "other" / "ISIC_0000003.jpg", noise(0))
    with pytest.raises(UserError) as caught:
        listed(path, columns={"path": "image_id", "label": "dx"}, root=roots)
    original = roots[0] / "deep/er/ISIC_0000003.jpg"
    assert f"'ISIC_0000003' is in two folders of source.root: {original} and {copy}; remove" in str(caught.value)
    with pytest.raises(UserError, match=r"the root .*part_3 of the manifest .* is not a folder"):
        listed(path, root=[roots[0], tmp_path / "part_3"])


def two_roots(root: Path, a: str = "a", b: str = "b") -> list[Path]:
    """0.png below both, and other pictures."""
    for i, folder in enumerate((a, b)):
        save(root / folder / "0.png", noise(i))
    return [root / a, root / b]


def test_one_path_below_each_of_two_roots(tmp_path: Path) -> None:
    """The table names the folders, so that the pictures are different ones: their ids are too."""
    roots = two_roots(tmp_path)
    save(roots[1] / "1.png", noise(2))
    frame = pd.DataFrame({"path": ["a/0.png", "b/0.png", "b/1.png"], "label": ["x", "y", "x"]})
    frame.assign(group=["p", "", ""]).to_csv(tmp_path / "m.csv", index=False)
    listing = listed(tmp_path / "m.csv", root=roots)
    assert listing.ids == ["a/0.png", "b/0.png", "1.png"] and not listing.bad
    assert listing.groups.tolist() == ["p", "b/0.png", "1.png"]
    assert "2 rows without a group, each its own group" in listing.notes
    assert list(listing.fetch(np.arange(3))) == [roots[0] / "0.png", roots[1] / "0.png", roots[1] / "1.png"]
    frame.loc[3] = ["b/0.png", "x"]
    frame.to_csv(tmp_path / "m.csv", index=False)
    assert [bad.reason for bad in listed(tmp_path / "m.csv", root=roots).bad] == [
        "row 2: duplicate path with another label: write one row for each picture",
        "row 4: duplicate path with another label: write one row for each picture",
    ]


def test_a_name_of_two_files_below_one_root_and_of_one_below_another(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for i, path in enumerate(("a/x/0.png", "a/y/0.png", "b/z/0.png", "b/z/1.png", "a/x/2.png")):
        save(tmp_path / path, noise(i))
    frame = pd.DataFrame({"path": ["0.png", "1.png", "2.png"], "label": ["x", "x", "y"]})
    frame.to_csv(tmp_path / "m.csv", index=False)
    for order in (roots, roots[::-1]):
        listing = listed(tmp_path / "m.csv", root=order)
        assert listing.ids == ["z/1.png", "x/2.png"]
        (bad,) = listing.bad
        assert bad.reason == "row 1: 2 files of this name: x/0.png, y/0.png"


@pytest.mark.parametrize("second", ["a", "a/deep", "link"])
def test_roots_within_each_other_are_refused(tmp_path: Path, second: str) -> None:
    two_roots(tmp_path, "a", "a/deep")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "m.csv").write_text("path,label\n0.png,x\n")
    roots = [tmp_path / "a", tmp_path / second]
    for order in (roots, roots[::-1]):
        with pytest.raises(UserError, match="are the same folder, or one is inside the other"):
            sources.check(source("manifest", path=tmp_path / "m.csv", root=order))


def test_letters_with_marks_in_two_spellings_of_unicode(tmp_path: Path) -> None:
    """macOS writes é as two characters; the table has one."""
    save(tmp_path / "cafe\u0301.png", noise(0))
    (tmp_path / "m.csv").write_text("path,label\ncaf\u00e9.png,x\n", encoding="utf-8")
    assert listed(tmp_path / "m.csv").ids == ["cafe\u0301.png"]
