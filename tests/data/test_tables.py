"""Tables as others write them: CelebA's text, Hugging Face's metadata, a table for each split."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import images, labelled_table, listed
from pictures import noise, save, source

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_optional_columns_without_values(tmp_path: Path) -> None:
    """Unset they are as good as missing, and another column of patients is not passed over; set they are a mistake."""
    patients = [f"p{i // 2}" for i in range(20)]
    frame = pd.DataFrame({"path": images(tmp_path, 20), "label": ["x", "y"] * 10})
    frame["patient"], frame["fold"], frame["group"], frame["split"] = patients, None, None, None
    for name in ("m.csv", "m.parquet"):  # of Parquet the columns are of no type
        path = tmp_path / name
        frame.to_csv(path, index=False) if name == "m.csv" else frame.to_parquet(path)
        with pytest.raises(UserError, match="has the column 'patient', which looks like groups"):
            listed(path)
        listing = listed(path, ignore=["patient"])
        assert listing.groups is None and listing.splits is None
        assert "the column 'group' of the table has no values" in listing.notes
        for key in ("group", "split"):
            with pytest.raises(
                UserError, match=rf"'fold' of the manifest .* has no values, and source\.columns\.{key} is"
            ):
                listed(path, columns={key: "fold"})


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("group", 2, ""),
        ("patient", 2, "column 'patient', which looks like groups"),
        ("group", 3, r"more than one column 'group'; .*\(rename one, or"),
        ("patient", 3, "column 'patient', which looks like groups"),
    ],
)
def test_two_columns_of_one_name(tmp_path: Path, name: str, other: int, message: str) -> None:
    """They are one column if their values are the same; of groups they are not passed over."""
    paths = images(tmp_path, 12)
    rows = [f"{path},{i % 2},{i // 2},{i // other}" for i, path in enumerate(paths)]
    (tmp_path / "m.csv").write_text("\n".join([f"path,label,{name},{name}", *rows]))
    if message:
        with pytest.raises(UserError, match=message):
            listed(tmp_path / "m.csv")
    else:
        assert len(set(listed(tmp_path / "m.csv").groups)) == 6


def test_labels_that_python_reads_as_numbers_are_text(tmp_path: Path) -> None:
    names = ["1_0", "10", "inf", "1e2", "100", "nan", "infinity"]
    assert set(listed(labelled_table(tmp_path, names)).classes) == set(names)
    with pytest.raises(UserError, match=r"'1' and '1\.0' of .* are the same number"):
        listed(labelled_table(tmp_path, ["1", "1.0", "a"]))


def test_a_column_of_floats_is_one_of_integers(tmp_path: Path) -> None:
    listing = listed(labelled_table(tmp_path, [0.0, 1.0, None, 10.0]))
    assert listing.classes == ("0", "1", "10") and len(listing.bad) == 1
    assert listed(labelled_table(tmp_path, ["0.5", "1.0"])).classes == ("0.5", "1.0")


def test_a_label_of_minus_one_is_noted(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, [-1, 0, 1] * 2)
    (note,) = listed(path).notes
    assert note.endswith("if it means that there is no label, leave it out: --set 'source.classes=[0, 1]'")
    assert listed(path, classes=[0, 1]).classes == ("0", "1")
    assert not listed(labelled_table(tmp_path, [-1, 1] * 3)).notes  # no class but these two


@pytest.mark.parametrize("none", ["", "-1", "?"])
def test_a_test_without_labels_is_left_out(tmp_path: Path, none: str) -> None:
    """As competitions publish them: no class of such a name, no unusable files."""
    columns = {"split": ["train"] * 8 + ["test"] * 2}
    images = listed(labelled_table(tmp_path, ["a", "b"] * 4 + [none] * 2, **columns))
    assert images.counts() == {"a": 4, "b": 4} and set(images.splits) == {"train"} and not images.bad
    (note,) = images.notes
    assert re.match(r"2 images of test without a label.*: test is drawn from the images with labels", note)
    some = listed(labelled_table(tmp_path, ["a", "b"] * 4 + [none, "a"], **columns))
    assert some.bad or none in some.classes  # one image of test has a label: nothing is decided for the user
    if none:
        path = labelled_table(tmp_path, ["a", "b"] * 4 + [none] * 2, **columns)
        assert none in listed(path, classes=["a", "b", none]).classes


def test_empty_rows_and_columns_of_spreadsheets(tmp_path: Path) -> None:
    images(tmp_path, 3)
    path = tmp_path / "m.csv"
    path.write_text("sep=;\npath;label;;\nimg/0.png;cat;;\n;;;\n ;;;\nimg/1.png;dog;;\nno.png;dog;;\n;;;\n")
    listing = listed(path)
    assert listing.ids == ["img/0.png", "img/1.png"] and listing.classes == ("cat", "dog")
    assert listing.notes == ("3 empty rows of the table left out", "2 empty columns of the table left out")
    assert [one.reason for one in listing.bad] == ["row 5: file does not exist"]


def test_celebas_attributes(tmp_path: Path) -> None:
    """The first line counts the rows, the second lacks the first column's name, spaces of any width are between."""
    for i in range(4):
        save(tmp_path / "img_align_celeba" / f"00000{i}.jpg", noise(i))
    rows = "".join(f"00000{i}.jpg {(-1, 1)[i % 2]:2d}  {(1, -1)[i // 2]:2d} \n" for i in range(4))
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text(f"4\nSmiling Young \n{rows}")
    assert sources.suggest(path) == {"kind": "manifest", "path": str(path)}
    with pytest.raises(UserError, match="has no column 'label'; it has path, Smiling, Young"):
        listed(path)
    listing = listed(path, columns={"label": "Smiling"})
    assert listing.ids[1] == "img_align_celeba/000001.jpg" and listing.classes == ("-1", "1")
    assert listing.labels.tolist() == [0, 1, 0, 1]
    assert any(note.endswith("list_attr_celeba.txt: Young") for note in listing.notes)
    path.write_text(f"5\nSmiling Young\n{rows}")
    notes = listed(path, columns={"label": "Young"}).notes
    assert "the first line of the table says 5 rows, and it has 4" in notes
    (tmp_path / "readme.txt").write_text("some words\nand others\n")
    with pytest.raises(
        UserError, match=r"unknown kind of source: .*; a \.txt is read if each of its lines is the path"
    ):
        sources.suggest(tmp_path / "readme.txt")


def test_hugging_faces_metadata_beside_images(tmp_path: Path) -> None:
    rows = [{"file_name": path, "label": i % 2, "box": [1, 2]} for i, path in enumerate(images(tmp_path, 4))]
    path = tmp_path / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    listing = sources.listing(source(**sources.suggest(path)))
    assert listing.ids == [row["file_name"] for row in rows] and listing.classes == ("0", "1")
    with pytest.raises(UserError) as caught:
        sources.listing(source("folder", path=tmp_path / "img", layout=None))
    assert "for each of at least 2 classes; it has none; write a table" in str(caught.value)
    path.rename(tmp_path / "img" / path.name)
    with pytest.raises(UserError) as caught:
        sources.listing(source("folder", path=tmp_path / "img"))
    path = tmp_path / "img" / path.name
    assert str(caught.value).endswith(
        f"it has none; the table {path} names the pictures in its column 'file_name': use it (augpipe run {path} "
        "--set source.columns.path=file_name --set source.columns.label=label)"
    )
    path.write_text('{"file_name": "img/0.png"}\n[1]\n')
    with pytest.raises(UserError, match=r"line 2 of the manifest .* is not an object"):
        listed(path)
    path.write_text('{"file_name": "img/0.png"\n')
    with pytest.raises(UserError, match=r"line 1 of the manifest .* is not JSON"):
        listed(path)


def test_an_image_folder_with_a_table_for_each_split(tmp_path: Path) -> None:
    """train/metadata.csv and test/metadata.csv: paths are relative to the table, and its folder is the split."""
    root = tmp_path / "set" / "data"
    for split, n in (("train", 4), ("test", 2), ("Validation", 0)):
        for i in range(n):
            save(root / split / f"{i}.png", noise(i))
        rows = [f"{i}.png,{'ab'[i % 2]},other,p{i}" for i in range(n)]
        (root / split).mkdir(exist_ok=True)
        if n:
            (root / split / "metadata.csv").write_text("\n".join(["file_name,label,split,who", *rows, "9.png,a,,"]))
    config = sources.suggest(tmp_path / "set")
    assert config == {"kind": "manifest", "path": str(root)}
    listing = sources.listing(source(**config))
    assert listing.ids == ["test/0.png", "test/1.png"] + [f"train/{i}.png" for i in range(4)]
    assert listing.splits.tolist() == ["test"] * 2 + ["train"] * 4
    assert listing.counts() == {"a": 3, "b": 3}
    assert [(bad.id, bad.reason) for bad in listing.bad] == [
        ("test/9.png", "row 3 of test/metadata.csv: file does not exist"),
        ("train/9.png", "row 5 of train/metadata.csv: file does not exist"),
    ]
    assert "metadata.csv is read from test, train, which are the splits" in listing.notes
    assert "Validation has no table, and its pictures are not used" in listing.notes
    assert sources.places(source(**config)) == (root,)
    path = root / "test" / "metadata.jsonl"
    path.write_text('{"file_name": "0.png", "label": "a"}\n')
    with pytest.raises(UserError, match=r"test has metadata\.csv, metadata\.jsonl: only one of them"):
        listed(root)
    (root / "test" / "metadata.csv").unlink()
    with pytest.raises(UserError, match=r"test/metadata\.jsonl, .*/train/metadata\.csv are of several forms"):
        listed(root)
    path.unlink()
    (root / "test" / "0.png").unlink()
    one = listed(root)  # a single split is none
    assert one.splits is None and one.ids[0] == "train/0.png"
    with pytest.raises(UserError, match=r"set is a folder, and no folder of a split in it has a table"):
        listed(tmp_path / "set")


def test_tables_of_splits_beside_class_folders(tmp_path: Path) -> None:
    """Tables without labels leave the folders the classes; others are proposed as a whole."""
    for split, name, i in [(s, n, i) for s in ("train", "test") for n in ("part_1", "part_2") for i in range(2)]:
        save(tmp_path / split / name / f"{i}.png", noise(i))
        with (tmp_path / split / "metadata.csv").open("a") as table:
            table.write(f"{'' if table.tell() else 'file_name,dx' + chr(10)}{name}/{i}.png,{'ab'[i]}\n")
    assert sources.suggest(tmp_path)["kind"] == "folder"
    with pytest.raises(UserError) as caught:
        sources.listing(source("folder", path=tmp_path))
    command = f"(augpipe run {tmp_path} --set source.kind=manifest --set source.columns.path=file_name --set source.columns.label=dx)"
    assert command in str(caught.value)
    listing = listed(tmp_path, columns={"label": "dx"})
    assert listing.classes == ("a", "b") and listing.splits.tolist() == ["test"] * 4 + ["train"] * 4


def test_roboflows_tables_of_all_splits_are_read_as_one(tmp_path: Path) -> None:
    """`_classes.csv` in each split's folder: one-hot, with spaces; two columns that are all of a table are labels."""
    for split, n in (("train", 4), ("valid", 2)):
        for i in range(n):
            save(tmp_path / split / f"{i}.png", noise(i))
        rows = [f"{i}.png, {i % 2}, {1 - i % 2}" for i in range(n)]
        (tmp_path / split / "_classes.csv").write_text("\n".join(["filename, ill, well", *rows]))
    assert sources.suggest(tmp_path) == {"kind": "manifest", "path": str(tmp_path)}
    with pytest.raises(UserError, match=r"try --set 'source\.columns\.label=\[ill, well\]'$"):
        listed(tmp_path)
    listing = listed(tmp_path, columns={"label": ["ill", "well"]})
    assert listing.counts() == {"ill": 3, "well": 3} and sorted(listing.splits) == ["train"] * 4 + ["val"] * 2
    one = listed(tmp_path / "train" / "_classes.csv", columns={"path": "filename", "label": ["ill", "well"]})
    assert any(f"give the folder {tmp_path}" in note for note in one.notes)


@pytest.mark.parametrize("head", ["path,label\n", ""])
def test_tables_of_other_splits_beside_one_are_noted(tmp_path: Path, head: str) -> None:
    paths = images(tmp_path, 8)
    for name, some in (("train", paths[:4]), ("valid", paths[4:]), ("trainset", paths)):
        text = "".join(f"{path},{'ab'[i % 2]}\n" for i, path in enumerate(some))
        (tmp_path / f"{name}.csv").write_text(head + text)
    (tmp_path / "test.csv").write_text("path\n1.png\n")  # without labels
    notes = [note for note in listed(tmp_path / "train.csv").notes if "other splits" in note]
    assert len(notes) == 1 and notes[0].startswith("valid.csv beside train.csv")
