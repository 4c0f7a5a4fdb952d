"""Hugging Face's Parquet with images: columns, labels and groups, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pictures import came, folders, noise, source, why
from pyarrow import parquet
from shards import hugging_face, png

from augpipe.core.errors import PictureError, UserError
from augpipe.data import sources


def test_a_folder_of_parquet_files_with_images(tmp_path: Path) -> None:
    data = tmp_path / "set" / "data"
    hugging_face(data / "train-00000-of-00002.parquet", [0, 1, 1, 0, 1])
    hugging_face(data / "train-00001-of-00002.parquet", [1, 0], 10)
    hugging_face(data / "validation-00000-of-00001.parquet", [1], 20)
    hugging_face(data / "test-00000-of-00001.parquet", [0, 1, 2], 30)
    config = sources.suggest(tmp_path / "set")
    assert config == {"kind": "huggingface", "path": str(tmp_path / "set")}
    taken = came("huggingface", tmp_path, path=tmp_path / "set")
    assert taken.listing.classes == ("cat", "dog", "emu") and not taken.bad
    assert taken.ids[0] == "data/test-00000-of-00001/000000"
    assert taken.splits.tolist() == ["test"] * 3 + ["train"] * 7 + ["val"]
    assert taken.labels.tolist() == [0, 1, 2, 0, 1, 1, 0, 1, 1, 0, 1]
    seeds = [30, 31, 32, 0, 1, 2, 3, 4, 10, 11, 20]
    assert all(np.array_equal(x[0], noise(s)) for x, s in zip(taken.images, seeds, strict=True))
    # Some rows, of several row groups and files.
    listing = taken.listing
    assert list(listing.fetch(np.array([2, 6, 7, 9]))) == [png(32), png(3), png(4), png(11)]
    merged = sources.listing(source("huggingface", path=tmp_path / "set", official=False))
    assert merged.splits is None
    assert sources.places(source("huggingface", path=tmp_path / "set")) == (tmp_path / "set",)


def test_configurations_of_a_repository_are_noted(tmp_path: Path) -> None:
    for i, name in enumerate(("augmented", "plain")):
        hugging_face(tmp_path / name / "train-00000-of-00001.parquet", [0, 1, 1], 10 * i)
    (note,) = sources.listing(source("huggingface", path=tmp_path)).notes
    assert note.startswith("the folders augmented, plain have files of the same names, and are read together")
    assert not sources.listing(source("huggingface", path=tmp_path / "plain")).notes


def test_one_parquet_file_and_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "train.parquet", [0, 1, -1, 1, 0, 1], who=list("ppqqrr"))
    assert sources.suggest(path)["kind"] == "huggingface"
    listing = sources.listing(source("huggingface", path=path, group="who", classes=["dog", "cat"]))
    assert listing.classes == ("dog", "cat") and listing.splits is None
    assert listing.groups.tolist() == ["p", "p", "q", "r", "r"]
    assert [(one.id, one.reason) for one in listing.bad] == [("train/000002", "no label")]
    assert list(listing.fetch(np.array([2]))) == [png(3)]
    with pytest.raises(UserError, match=r"unknown column in source\.label of .* 'lable'"):
        sources.listing(source("huggingface", path=path, label="lable"))
    with pytest.raises(UserError, match=r"unknown column of images in .* 'label'"):
        sources.listing(source("huggingface", path=path, image="label"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"cannot read .*train\.parquet"):
        sources.listing(source("huggingface", path=path))
    path.write_bytes(whole)
    listing = sources.listing(source("huggingface", path=path))
    path.write_bytes(whole[:-20])  # broken after it was listed
    blobs = list(listing.fetch(np.arange(5)))
    assert len(blobs) == 5 and all(isinstance(blob, PictureError) for blob in blobs)


def test_images_that_are_not_in_the_parquet_file(tmp_path: Path) -> None:
    images = [{"bytes": png(0), "path": None}, {"bytes": None, "path": "/etc/passwd"}, None]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"picture": pa.array(images, kind), "species": ["a", "b", "b"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"no column 'label': set source\.label; it has species"):
        sources.listing(source("huggingface", path=tmp_path / "x.parquet"))
    taken = came("huggingface", tmp_path, path=tmp_path / "x.parquet", label="species")
    assert why(taken) == {"x/000001": "no image, only the path '/etc/passwd'", "x/000002": "no image"}


def test_groups_in_parquet_are_not_passed_over(tmp_path: Path) -> None:
    patients = [f"p{i // 4}" for i in range(24)]
    path = hugging_face(tmp_path / "x.parquet", [i // 4 % 2 for i in range(24)], patient=patients)
    with pytest.raises(UserError, match=r"'patient', which looks like groups.*source\.group=patient"):
        sources.listing(source("huggingface", path=path))
    listing = sources.listing(source("huggingface", path=path, ignore=["patient"]))
    assert listing.notes[0].endswith(": patient")


def test_a_parquet_file_that_became_shorter_shifts_no_picture(tmp_path: Path) -> None:
    hugging_face(tmp_path / "a.parquet", [0, 1, 0, 1])
    hugging_face(tmp_path / "b.parquet", [1, 0], 10)
    listing = sources.listing(source("huggingface", path=tmp_path))
    hugging_face(tmp_path / "a.parquet", [0, 1])
    blobs = list(listing.fetch(np.arange(6)))
    assert blobs[:2] + blobs[4:] == [png(0), png(1), png(10), png(11)]
    assert [str(blob) for blob in blobs[2:4]] == [
        "a.parquet: the file has 2 rows now, fewer than when it was listed"
    ] * 2
    pa_table = pa.table({"label": [0, 1, 0, 1]})
    parquet.write_table(pa_table, tmp_path / "a.parquet")
    assert sum(isinstance(blob, PictureError) for blob in listing.fetch(np.arange(6))) == 4


def test_each_parquet_file_has_its_own_order_of_classes(tmp_path: Path) -> None:
    hugging_face(tmp_path / "a.parquet", [0, 1])
    hugging_face(tmp_path / "b.parquet", [0, 1, 2], names=["yak", "dog", "cat"])
    listing = sources.listing(source("huggingface", path=tmp_path))
    assert listing.classes == ("cat", "dog", "yak")
    assert [listing.classes[i] for i in listing.labels] == ["cat", "dog", "yak", "dog", "cat"]
    hugging_face(tmp_path / "b.parquet", [0, 1], names=None)
    with pytest.raises(UserError, match=r"has class names in .*a\.parquet and none in .*b\.par"):
        sources.listing(source("huggingface", path=tmp_path))


@pytest.mark.parametrize("names", [None, ()])
def test_class_labels_without_names_are_their_numbers(tmp_path: Path, names: Any) -> None:
    path = hugging_face(tmp_path / "x.parquet", [0, 1, 1], names=names)
    assert sources.listing(source("huggingface", path=path)).classes == ("0", "1")


def test_a_label_of_minus_one_without_names_is_no_class(tmp_path: Path) -> None:
    """As in a test set whose labels are not published; the message gives the option that leaves it out."""
    path = hugging_face(tmp_path / "x.parquet", [0, 1, -1, 1], names=())
    with pytest.raises(UserError, match=r"1 row of .* -1, .*--set 'source\.classes=\[0, 1\]' leav"):
        sources.listing(source("huggingface", path=path))
    listing = sources.listing(source("huggingface", path=path, classes=["0", "1"]))
    assert listing.counts() == {"0": 1, "1": 2}
    hugging_face(tmp_path / "set" / "train.parquet", [0, 1, 2], names=())
    hugging_face(tmp_path / "set" / "test.parquet", [-1, -1], 10, names=())
    divided = sources.listing(source("huggingface", path=tmp_path / "set"))
    assert divided.counts() == {"0": 1, "1": 1, "2": 1} and not divided.bad
    assert divided.notes[-1].startswith("2 images of test without a label")
    signs = hugging_face(tmp_path / "y.parquet", [1, -1], names=())
    assert sources.listing(source("huggingface", path=signs)).classes == ("-1", "1")


def test_columns_of_images_and_labels_by_what_they_hold(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "embedding": [b"12345678"] * 2,
            "sound": pa.array([{"bytes": b"RIFF....WAVE"}] * 2, kind),
            "photo": [png(0), png(1)],
            "label": ["a", "b"],
            "origin": [0, 1],
        }
    )
    features = {"origin": {"_type": "ClassLabel", "names": ["here", "there"]}}
    described = json.dumps({"info": {"features": features}})
    parquet.write_table(table.replace_schema_metadata({"huggingface": described}), tmp_path / "x.parquet")
    listing = sources.listing(source("huggingface", path=tmp_path / "x.parquet"))
    assert listing.classes == ("a", "b") and list(listing.fetch(np.arange(2))) == [png(0), png(1)]
    assert sources.suggest(tmp_path / "x.parquet")["kind"] == "huggingface"
    table = table.drop_columns(["photo", "sound"])
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"0 columns of images: .* it has embedding"):
        sources.listing(source("huggingface", path=tmp_path / "x.parquet"))


def test_a_group_that_rows_lack(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "x.parquet", [0, 1, 1], who=["p", None, "p"])
    listing = sources.listing(source("huggingface", path=path, group="who"))
    assert listing.groups.tolist() == ["p", "x/000001", "p"]
    assert any("1 image of" in note and "source.group=who" in note for note in listing.notes)
    hugging_face(path, [0, 1], who=pa.array([None, None], pa.string()))
    with pytest.raises(UserError, match=r"source\.group=who is empty for every image"):
        sources.listing(source("huggingface", path=path, group="who"))


def test_a_folder_of_classes_with_a_table_stays_one(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 2)
    parquet.write_table(pa.table({"path": ["a/000.png"], "age": [3]}), root / "metadata.parquet")
    assert sources.suggest(root)["kind"] == "folder"


def columns_file(path: Path, features: dict[str, Any] | None = None, **columns: Any) -> Path:
    """A Parquet file with a column of images and the given columns."""
    n = len(next(iter(columns.values())))
    table = pa.table({"image": [png(i) for i in range(n)], **columns})
    if features:
        info = {"info": {"features": features}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    parquet.write_table(table, path)
    return path


def test_several_labels_in_a_cell_of_parquet(tmp_path: Path) -> None:
    path = columns_file(tmp_path / "x.parquet", label=["A", "B", "A|B", "B | A", "A", ""])
    with pytest.raises(
        UserError,
        match=r"has several labels in one cell of the column 'label' in 2 rows of 6, such as 'A\|B': set "
        r"source\.combined=drop",
    ):
        sources.listing(source("huggingface", path=path))
    single = sources.listing(source("huggingface", path=path, combined="drop"))
    assert single.counts() == {"A": 2, "B": 1} and single.ids[-1] == "x/000004"
    assert [one.reason for one in single.bad] == ["no label"]
    assert "2 rows with several labels left out" in single.notes
    each = sources.listing(source("huggingface", path=path, combined="class"))
    assert each.counts() == {"A": 2, "A|B": 2, "B": 1}
    chosen = sources.listing(source("huggingface", path=path, classes=["B", "A"]))
    assert chosen.counts() == {"B": 1, "A": 2}


@pytest.mark.parametrize("form", ["Sequence", "List", "old"])
def test_labels_of_parquet_that_are_lists(tmp_path: Path, form: str) -> None:
    """Sets with several labels an image, as `datasets` writes them;
    the names hold separators and are single all the same.
    """
    inner = {"_type": "ClassLabel", "names": ["dog, hound", "cat", "dog"]}
    features = {"labels": [inner] if form == "old" else {"_type": form, "feature": inner}}
    cells = pa.array([[1], [0, 1], None, [1, 0], [0], [2]], pa.list_(pa.int64()))
    path = columns_file(tmp_path / "x.parquet", features, labels=cells)
    with pytest.raises(UserError, match=r"column 'labels' in 2 rows of 6, such as 'cat\|dog, hound': set"):
        sources.listing(source("huggingface", path=path))
    single = sources.listing(source("huggingface", path=path, combined="drop"))
    assert single.counts() == {"dog, hound": 1, "cat": 1, "dog": 1}
    assert [one.id for one in single.bad] == ["x/000002"]
    each = sources.listing(source("huggingface", path=path, combined="class"))
    assert each.counts() == {"dog, hound": 1, "cat": 1, "dog": 1, "cat|dog, hound": 2}


def test_text_of_parquet_stays_text_and_numbers_with_gaps_are_whole(tmp_path: Path) -> None:
    """pandas writes integers with a gap as floats: in one file 12.0, in the next 12."""
    words = ["01", "1_0", "inf", "1e1"]
    columns_file(tmp_path / "a.parquet", label=words, who=[12.0, None, 7.0, 7.0])
    columns_file(tmp_path / "b.parquet", label=[" inf", "01 "], who=[12, 7])
    listing = sources.listing(source("huggingface", path=tmp_path, group="who"))
    assert listing.classes == ("01", "1_0", "1e1", "inf")
    assert listing.groups.tolist() == ["12", "a/000001", "7", "7", "12", "7"]
    assert any("1 image of" in note and "source.group=who" in note for note in listing.notes)
    path = columns_file(tmp_path / "a.parquet", label=[1.0, None, 0.0], who=["01", "1_0", "inf"])
    listing = sources.listing(source("huggingface", path=path, group="who"))
    assert listing.classes == ("0", "1") and listing.groups.tolist() == ["01", "inf"]
    columns_file(path, label=["1", "1.0", "2"])
    with pytest.raises(UserError, match=r"the labels '1' and '1\.0' of .* are the same number"):
        sources.listing(source("huggingface", path=path))


def test_groups_of_parquet_with_gaps_or_in_one_file_are_not_passed_over(tmp_path: Path) -> None:
    labels = [i // 4 % 2 for i in range(24)]
    patients: list[float | None] = [float(i // 4) for i in range(24)]
    gaps = [*patients[:-1], None]
    path = columns_file(tmp_path / "x.parquet", label=labels, patient=gaps)
    with pytest.raises(UserError, match=r"'patient', which looks like groups"):
        sources.listing(source("huggingface", path=path))
    when = pa.array([0] * 24, pa.timestamp("s"))  # neither numbers nor text
    notes = ["a note " * 100 + str(i // 4) for i in range(24)]
    columns_file(path, label=labels, age=[i // 4 + 0.5 for i in range(24)], when=when, text=notes)
    listing = sources.listing(source("huggingface", path=path))
    assert listing.notes[0].endswith(": age, when, text")
    columns_file(tmp_path / "y.parquet", label=labels, patient=pa.array(gaps).dictionary_encode())
    with pytest.raises(UserError, match=r"'patient', which looks like groups"):
        sources.listing(source("huggingface", path=tmp_path))
