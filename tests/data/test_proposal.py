"""Columns that are proposed for paths, labels and groups."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, listed, load_source
from pictures import noise, save

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_a_proposal_names_path_label_and_groups(tmp_path: Path) -> None:
    """By values: a column of few classes has no name that says so."""
    paths = images(tmp_path, 40, "deep/down")
    frame = pd.DataFrame(
        {
            "file": [Path(p).name for p in paths],
            "kind_of_lesion": [("x", "y")[i % 4 // 2] for i in range(40)],
            "lesion": [f"L{i // 2}" for i in range(40)],
            "score": [i / 7 for i in range(40)],
        }
    )
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError) as caught:
        listed(tmp_path / "m.csv")
    assert str(caught.value).endswith(
        "try --set source.columns.path=file --set source.columns.label=kind_of_lesion --set source.columns.group=lesion"
    )
    frame["sex"] = ["m", "f"] * 20
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError) as caught:
        listed(tmp_path / "m.csv")
    assert str(caught.value).endswith(
        "try --set source.columns.path=file --set source.columns.label=..., perhaps one of kind_of_lesion, sex"
    )


@pytest.mark.parametrize(
    "names", [["pixels"], [f"pixel{i}" for i in range(64)], [f"{i // 8}x{i % 8}" for i in range(64)]]
)
def test_a_table_of_pixels(tmp_path: Path, names: list[str]) -> None:
    """As FER2013, Sign Language MNIST and Kaggle's MNIST."""
    values = [17 * i % 251 for i in range(10) for _ in range(3)]  # repeated as those of patients are
    frame = pd.DataFrame({"label": [i % 2 for i in range(10) for _ in range(3)], **dict.fromkeys(names, values)})
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"the pixels: .*np\.savez") as caught:
        listed(tmp_path / "m.csv")
    assert "source.root" not in str(caught.value) and len(str(caught.value)) < 1200
    assert "columns.group" not in str(caught.value)


def test_a_proposal_where_the_path_is_called_target(tmp_path: Path) -> None:
    """The name is one of labels, and the user took it for the path."""
    frame = pd.DataFrame({"target": ["gone/0.png"] * 4, "kind": ["x", "y"] * 2})
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"has no column 'label'; it has target, kind"):
        listed(tmp_path / "m.csv", columns={"path": "target"})


def test_a_number_of_patients_is_no_column_of_paths(tmp_path: Path) -> None:
    """Files are numbered too, and only a column that names each of them once may be meant."""
    for i in range(8):
        save(tmp_path / f"{i:04d}.png", noise(i))
    rows = {"subject_no": [i // 2 for i in range(8)], "scan": range(8), "label": ["x", "y"] * 4}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"try --set source\.columns\.path=scan"):
        listed(tmp_path / "m.csv")


def test_proposals_of_boxes_titles_and_cells_without_a_label(tmp_path: Path) -> None:
    """A column y beside x is no label, and a title above the column names is named."""
    paths = images(tmp_path, 8)
    table = tmp_path / "t.csv"
    table.write_text("image,x,y,Target\n" + "".join(f"{path},{i},{i},{i % 2}\n" for i, path in enumerate(paths)))
    with pytest.raises(UserError, match=r"--set source\.columns\.label=Target$"):
        listed(table)
    table.write_text("A study of 2021,\n,\npath,label\n" + "".join(f"{path},a\n" for path in paths))
    with pytest.raises(UserError, match=r"a row below has 'path', 'label': delete the lines above") as caught:
        listed(table)
    assert "try" not in str(caught.value)
    labels = ["#N/A", "?", "a", "b"] * 2
    table.write_text("path,label\n" + "".join(f"{path},{labels[i]}\n" for i, path in enumerate(paths)))
    noted = [note for note in listed(table).notes if "not as a missing value" in note]
    assert [note.split("'")[1] for note in noted] == ["#N/A", "?"]
    table.write_bytes(b"PK\3\4" + bytes(50))
    with pytest.raises(UserError, match=r"t\.csv is by its content a spreadsheet or a zip.*save it as CSV"):
        listed(table)


@pytest.mark.parametrize("written", ["", "img/"])
def test_a_proposal_for_a_table_in_a_folder_beside_the_pictures(tmp_path: Path, written: str) -> None:
    """As Derm7pt's `meta/meta.csv`, whose paths begin in `images`."""
    names = [written + name.partition("/")[2] for name in images(tmp_path / "set", 12)]
    (tmp_path / "set" / "meta").mkdir()
    path = tmp_path / "set" / "meta" / "meta.csv"
    pd.DataFrame({"case": range(12), "diagnosis": ["a", "b"] * 6, "derm": names}).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"but the column 'derm' does below") as caught:
        listed(path)
    sets = [word for word in shlex.split(str(caught.value).split("; try ")[1].split("; ")[0]) if "=" in word]
    assert sources.listing(load_source(path, sets)).counts() == {"a": 6, "b": 6}
