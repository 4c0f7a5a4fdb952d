"""WebDataset's tars: labels and groups of each key, and what cannot be used."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pictures import came, folders, noise, source
from pyarrow import parquet
from shards import described, numbered, png, shard

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_shards_are_one_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    shard(root / "train-0000.tar", numbered([0, 1, 1]))
    shard(root / "train-0001.tar", numbered([1, 0], 10))
    shard(root / "val-0000.tar", numbered([0, 1], 20))
    assert sources.suggest(root) == {"kind": "webdataset", "path": str(root)}
    assert sources.suggest(root / "val-0000.tar")["kind"] == "webdataset"
    taken = came("webdataset", tmp_path, path=root, names=["cat", "dog"])
    assert taken.listing.classes == ("cat", "dog") and not taken.bad
    assert taken.ids[3] == "train-0001/000010" and taken.labels.tolist() == [0, 1, 1, 1, 0, 0, 1]
    assert taken.splits.tolist() == ["train"] * 5 + ["val"] * 2
    seeds = [0, 1, 2, 10, 11, 20, 21]
    assert all(np.array_equal(x[0], noise(s)) for x, s in zip(taken.images, seeds, strict=True))
    assert list(taken.listing.fetch(np.array([1, 3, 6]))) == [png(1), png(10), png(21)]
    with pytest.raises(UserError, match=r"2 names for the labels 0 to 1; .* has '2'"):
        sources.listing(source("webdataset", path=shard(tmp_path / "x.tar", numbered([0, 2])), names=["a", "b"]))
    with pytest.raises(UserError, match=r"3 names, but no picture of .* has the label 2 \('bird'\)"):
        sources.listing(source("webdataset", path=root, names=["cat", "dog", "bird"]))


@pytest.mark.parametrize("names", [("train/0000.tar", "test/0000.tar"), ("train-0.tar.gz", "test-0.tar.gz")])
def test_a_folder_of_shards_in_folders_or_compressed(tmp_path: Path, names: tuple[str, str]) -> None:
    for i, name in enumerate(names):
        path = shard(tmp_path / "set" / name, numbered([0, 1], 10 * i))
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    listing = sources.listing(source(**sources.suggest(tmp_path / "set")))
    assert sorted(listing.splits) == ["test", "test", "train", "train"]


@pytest.mark.parametrize("label", [None, b"", b"-1"])
def test_a_test_without_labels_is_left_out(tmp_path: Path, label: bytes | None) -> None:
    shard(tmp_path / "train-0.tar", numbered([0, 1, 2, 0]))
    files = {} if label is None else {"cls": label}
    shard(tmp_path / "test-0.tar", {f"{i}": {"png": png(10 + i), **files} for i in range(3)})
    images = sources.listing(source(**sources.suggest(tmp_path)))
    assert images.counts() == {"0": 2, "1": 1, "2": 1} and set(images.splits) == {"train"} and not images.bad
    assert images.notes[-1].startswith("3 images of test without a label")


def test_labels_from_json(tmp_path: Path) -> None:
    samples = {
        f"{i}": {"jpg": png(i), "json": json.dumps({"dx": "ab"[i % 2], "who": i // 2}).encode(), "txt": b"a cat"}
        for i in range(4)
    }
    path = shard(tmp_path / "x.tar", samples)
    with pytest.raises(
        UserError, match=r"no picture with a label; .*without a \.cls file; set source\.label to .*: dx, who"
    ):
        sources.listing(source("webdataset", path=path))
    listing = sources.listing(source("webdataset", path=path, label="dx", group="who"))
    assert listing.counts() == {"a": 2, "b": 2} and listing.ignored == {".txt": 4}
    assert listing.groups.tolist() == ["0", "0", "1", "1"] and listing.splits is None


def test_samples_that_cannot_be_used(tmp_path: Path) -> None:
    samples = {
        "a": {"png": png(0), "cls": b"x"},
        "b": {"cls": b"x"},
        "c": {"left.png": png(1), "right.png": png(2), "cls": b"y"},
        "d": {"png": png(3)},
        "../e": {"png": png(4), "cls": b"y"},
        "f": {"png": png(5), "cls": b"y"},
        "g": {"png": png(6), "cls": b"\xff"},
    }
    listing = sources.listing(source("webdataset", path=shard(tmp_path / "x.tar", samples)))
    assert listing.ids == ["x/a", "x/f"]
    assert {one.id: one.reason for one in listing.bad} == {
        "x/b": "a key with 0 pictures; it needs one",
        "x/c": "a key with 2 pictures, .left.png, .right.png: set source.image=left.png, or another of them (a key ends at the first dot)",
        "x/d": "a key without a .cls file",
        "x/../e": "a name that is not UTF-8 or leaves the archive",
        "x/g": "the label is not UTF-8",
    }
    path = tmp_path / "x.tar"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"cannot read the archive .*x\.tar"):
        sources.listing(source("webdataset", path=path))


def test_a_tar_of_class_folders_stays_an_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as packed:
        packed.add(folders(tmp_path / "pics", 2), "pics")
    assert sources.suggest(tmp_path / "x.tar")["kind"] == "archive"


def test_names_of_shards_with_dots(tmp_path: Path) -> None:
    shard(tmp_path / "data.00.tar", numbered([0]))
    shard(tmp_path / "data.01.tar", numbered([1]))
    listing = sources.listing(source("webdataset", path=tmp_path))
    assert listing.ids == ["data.00/000000", "data.01/000000"]
    shard(tmp_path / "data.00" / "x.tar", numbered([1]))
    shard(tmp_path / "data.02.tar", {"7": numbered([0])["000000"]})
    shard(tmp_path / "data.00.tar", {"x/000000": numbered([0])["000000"]})
    with pytest.raises(UserError, match=r"'data\.00/x/000000' of .* have one name"):
        sources.listing(source("webdataset", path=tmp_path))


def test_a_group_of_json_files(tmp_path: Path) -> None:
    samples = described(
        {"dx": "a", "patient": 1}, {"dx": "b"}, {"dx": "b", "patient": [2, 3]}, {"dx": "a", "patient": 1}
    )
    path = shard(tmp_path / "x.tar", samples)
    listing = sources.listing(source("webdataset", path=path, label="dx", group="patient"))
    assert listing.groups.tolist() == ["1", "x/1", "1"]
    assert [one.id for one in listing.bad] == ["x/2"] and "not one value" in listing.bad[0].reason
    assert any("1 image of" in note and "source.group=patient" in note for note in listing.notes)
    with pytest.raises(UserError, match=r"source\.group of .* 'patinet' \(did you mean 'patient'"):
        sources.listing(source("webdataset", path=path, label="dx", group="patinet"))


def test_groups_in_json_files_are_not_passed_over(tmp_path: Path) -> None:
    values = [{"dx": "ab"[i // 4 % 2], "patient": f"p{i // 4}", "score": i / 7} for i in range(24)]
    path = shard(tmp_path / "x.tar", described(*values))
    with pytest.raises(UserError, match=r"key 'patient', which looks like .*source\.group=patient"):
        sources.listing(source("webdataset", path=path, label="dx"))
    for patients in (lambda p: {"patient": [p]}, lambda p: {"meta": {"patient": [p] if p != "p0" else []}}):
        lists = (value | {"patient": None} | patients(value["patient"]) for value in values)
        single = shard(tmp_path / "z.tar", described(*lists))
        with pytest.raises(UserError, match=r"patient', which looks like groups"):
            sources.listing(source("webdataset", path=single, label="dx"))
    listing = sources.listing(source("webdataset", path=path, label="dx", ignore=["patient"]))
    assert listing.notes[0].endswith(": score")
    many = [{"dx": "ab"[i % 2], **{f"k{i}{j}": 1 for j in range(15)}} for i in range(2)]
    note = sources.listing(source("webdataset", path=shard(tmp_path / "y.tar", described(*many)), label="dx")).notes[0]
    assert note.endswith("k13, k14 and 10 more")
    with pytest.raises(UserError, match=r"unknown key in source\.ignore 'patent'"):
        sources.listing(source("webdataset", path=path, label="dx", ignore=["patent"]))


@pytest.mark.parametrize("extension", ["patient", "patient.txt", "Subject_ID"])
def test_groups_in_files_of_their_own_are_not_passed_over(tmp_path: Path, extension: str) -> None:
    samples = {
        f"{i}": {"png": png(i), "cls": b"ab"[i % 2 : i % 2 + 1], extension: f"p{i // 4}\n".encode()} for i in range(24)
    }
    path, name = shard(tmp_path / "x.tar", samples), extension.lower().removesuffix(".txt")
    with pytest.raises(UserError, match=rf"key '{name}', which looks like .*source\.group={name}, "):
        sources.listing(source("webdataset", path=path))
    groups = sources.listing(source("webdataset", path=path, group=name)).groups
    assert groups.tolist() == [f"p{i // 4}" for i in range(24)]
    assert sources.listing(source("webdataset", path=path, ignore=[name])).groups is None


def test_labels_in_files_of_text(tmp_path: Path) -> None:
    samples = {f"{i}": {"png": png(i), "txt": b"ab"[i % 2 : i % 2 + 1]} for i in range(4)}
    path = shard(tmp_path / "x.tar", samples)
    assert sources.listing(source("webdataset", path=path, label="txt")).classes == ("a", "b")


def test_longer_extensions_are_no_labels(tmp_path: Path) -> None:
    sample = {"png": png(0), "cls": b"wren", "coarse.cls": b"bird", "more.json": b"{}"}
    path = shard(tmp_path / "x.tar", {"0": sample, "1": {"png": png(1), "cls": b"cod"}})
    listing = sources.listing(source("webdataset", path=path))
    assert listing.classes == ("cod", "wren") and listing.ignored == {".*.cls": 1, ".*.json": 1}
    with tarfile.open(path, "a") as packed:
        packed.addfile(tarfile.TarInfo("1.cls"))
    listing = sources.listing(source("webdataset", path=path))
    assert [(one.id, one.reason) for one in listing.bad] == [("x/1", "two .cls files of one key")]


def test_json_files_that_cannot_be_used(tmp_path: Path) -> None:
    samples = described(
        {"dx": "a"},
        b"[" * 100_000,
        b'{"dx": "\\ud800"}',
        b'{"dx": ' + b"1" * 5000 + b"}",
        b"[1]",
        {"dx": None},
        {"dx": " b"},
    )
    listing = sources.listing(source("webdataset", path=shard(tmp_path / "x.tar", samples), label="dx"))
    assert listing.classes == ("a", "b")
    reasons = [one.reason for one in listing.bad]
    assert reasons[0] == "the .json file is nested too deeply"
    assert reasons[1] == "'dx' of the .json file is not valid text: '\\\\ud800'"
    assert reasons[2].startswith("the .json file cannot be read: Exceeds the limit")
    assert reasons[3:] == ["the .json file has no keys", "no label"]


def test_pictures_beside_the_picture_of_a_key(tmp_path: Path) -> None:
    """`0.mask.png` is another field of the key; which of `0.jpg` and `0.png` is meant is set."""
    both = {"png": png(0), "mask.png": png(9), "cls": b"a"}
    path = shard(
        tmp_path / "x.tar", {"0": both, "1": {"mask.png": png(8), "cls": b"b"}, "2": {"jpg": png(2), "cls": b"b"}}
    )
    listing = sources.listing(source("webdataset", path=path))
    assert listing.ids == ["x/0", "x/2"] and list(listing.fetch(np.arange(2))) == [png(0), png(2)]
    assert listing.classes == ("a", "b")
    assert [(one.id, one.label) for one in listing.bad] == [("x/1", "b")]
    assert listing.bad[0].reason.startswith("a key with .mask.png only, and other keys have a pict")
    assert any("1 picture of" in note and "not used: 1 .mask.png; source.image" in note for note in listing.notes)
    masks = sources.listing(source("webdataset", path=path, image=".mask.PNG"))
    assert list(masks.fetch(np.arange(2))) == [png(9), png(8)]
    assert masks.bad[0].reason == "a key without .mask.png; it has .jpg"
    with pytest.raises(
        UserError, match=r"unknown extension in source\.image of .* 'mask\.pgn' \(did you mean 'mask\.png'"
    ):
        sources.listing(source("webdataset", path=path, image="mask.pgn"))
    shard(path, {"0": {"jpg": png(0), "png": png(1), "scan": png(2), "cls": b"a"}})
    with pytest.raises(UserError, match=r"x/0: a key with 2 pictures, \.jpg, \.png: set source\.image=jpg, or another"):
        sources.listing(source("webdataset", path=path))
    for seed, image in enumerate(("jpg", "png", "scan")):
        assert list(sources.listing(source("webdataset", path=path, image=image)).fetch(np.arange(1))) == [png(seed)]


def test_several_labels_of_a_key(tmp_path: Path) -> None:
    labels = ["a", "b", "a|b", "b | a", "b"]
    path = shard(tmp_path / "x.tar", {f"{i}": {"png": png(i), "cls": label.encode()} for i, label in enumerate(labels)})
    with pytest.raises(
        UserError, match=r"in one cell of the \.cls files in 2 rows of 5, such as 'a\|b': set source\.comb"
    ):
        sources.listing(source("webdataset", path=path))
    single = sources.listing(source("webdataset", path=path, combined="drop"))
    assert single.ids == ["x/0", "x/1", "x/4"] and not single.bad
    assert "2 pictures with several labels left out" in single.notes
    assert sources.listing(source("webdataset", path=path, combined="class")).counts() == {"a": 1, "a|b": 2, "b": 2}
    assert sources.listing(source("webdataset", path=path, classes=["b", "a"])).counts() == {"b": 2, "a": 1}


def test_lists_and_numbers_of_json(tmp_path: Path) -> None:
    """A list of one label is the label; 12 and 12.0 are one number, and words stay words."""
    values = [
        {"dx": [1], "who": 12},
        {"dx": [1.0, 0], "who": 12.0},
        {"dx": [0, 1], "who": "01"},
        {"dx": 0, "who": None},
        {"dx": [], "who": "inf"},
        {"dx": {}},
    ]
    path = shard(tmp_path / "x.tar", described(*values))
    config = {"path": path, "label": "dx", "group": "who"}
    with pytest.raises(UserError, match=r"in one cell of the key 'dx' in 2 rows of 5"):
        sources.listing(source("webdataset", **config))
    listing = sources.listing(source("webdataset", **config, combined="class"))
    assert listing.counts() == {"0": 1, "0|1": 2, "1": 1}
    assert listing.groups.tolist() == ["12", "12", "01", "x/3"]
    assert [one.reason for one in listing.bad] == ["'dx' of the .json file is not one value: {}", "no label"]
    named = sources.listing(source("webdataset", **config, combined="class", names=["wren", "cod"]))
    assert named.counts() == {"cod": 1, "cod|wren": 2, "wren": 1}
    single = sources.listing(source("webdataset", **config, combined="drop", names=["wren", "cod"]))
    assert single.counts() == {"cod": 1, "wren": 1} and single.groups.tolist() == ["12", "x/3"]
    shard(path, described({"dx": "1"}, {"dx": "1.0"}))
    with pytest.raises(UserError, match=r"the labels '1' and '1\.0' of .* are the same number"):
        sources.listing(source("webdataset", path=path, label="dx"))


def patients(folder: Path, form: str) -> Any:
    """A set whose patients are only in names: folders in a tar, a tar each, or the paths in a Parquet file."""
    names = [f"patient-{i // 3}" for i in range(12)]
    if form == "parquet":
        images = [{"bytes": png(i), "path": f"x/{name}/{i}.png"} for i, name in enumerate(names)]
        table = pa.table({"image": images, "label": [i // 6 for i in range(12)]})
        parquet.write_table(table, folder / "x.parquet")
        return {"kind": "huggingface", "path": folder / "x.parquet"}
    each = {
        name: {"png": png(i), "cls": b"ab"[i // 6 : i // 6 + 1]}
        for i, name in enumerate(f"{name}/{i}" for i, name in enumerate(names))
    }
    if form == "folders":
        return {"kind": "webdataset", "path": shard(folder / "x.tar", each)}
    for name in set(names):
        shard(
            folder / f"{name}.tar",
            {key.partition("/")[2]: one for key, one in each.items() if key.startswith(f"{name}/")},
        )
    return {"kind": "webdataset", "path": folder}


@pytest.mark.parametrize(("form", "number"), [("folders", 2), ("tars", 1), ("parquet", 2)])
def test_patients_in_names_are_not_passed_over(tmp_path: Path, form: str, number: int) -> None:
    options = patients(tmp_path, form)
    with pytest.raises(UserError, match=rf"'patient-\d', which look like groups.*group_folder={number}, or"):
        sources.listing(source(**options))
    groups = sources.listing(source(**options, group_folder=number)).groups
    assert sorted(set(groups)) == [f"patient-{i}" for i in range(4)] and len(groups) == 12
    assert sources.listing(source(**options, group_folder=0)).groups is None
    with pytest.raises(UserError, match=r"source\.group_folder is 9, and no path of the data set"):
        sources.listing(source(**options, group_folder=9))
    with pytest.raises(ValueError, match="group_folder and group are mutually exclusive"):
        source(**options, group_folder=1, group="who")


def test_patients_in_the_names_of_samples_are_noted(tmp_path: Path) -> None:
    samples = {f"person{i // 3}_{i}": {"png": png(i), "cls": b"ab"[i // 12 : i // 12 + 1]} for i in range(24)}
    (note,) = sources.listing(source("webdataset", path=shard(tmp_path / "x.tar", samples))).notes
    assert "such as 'person0'" in note and note.split("person, ")[1].startswith("write them into the .json")


def test_numbers_that_are_missing_between_shards_are_noted(tmp_path: Path) -> None:
    for number in (0, 1, 3, 4):
        shard(tmp_path / "set" / f"train-{number:03d}.tar", numbered([0, 1], 10 * number))
    shard(tmp_path / "set" / "val-01.tar", numbered([0, 1], 90))
    shard(tmp_path / "set" / "val-02.tar", numbered([0, 1], 92))
    (note,) = sources.listing(source("webdataset", path=tmp_path / "set")).notes
    assert note.startswith("4 files up to train-004, without train-002: fetch what is missing")
    named = [tmp_path / "set" / f"train-{number:03d}.tar" for number in (0, 4)]
    assert not sources.listing(source("webdataset", path=named)).notes  # the user's selection
    for name in ("20240101", "20240301", "20240302"):  # dates
        shard(tmp_path / "days" / f"{name}.tar", numbered([0, 1], int(name)))
    assert not sources.listing(source("webdataset", path=tmp_path / "days")).notes


def test_labels_and_pictures_in_other_forms_are_named(tmp_path: Path) -> None:
    texts = {f"{i}": {"png": png(i), "txt": b"ab"[i % 2 : i % 2 + 1]} for i in range(4)}
    path = shard(tmp_path / "x.tar", texts)
    found = sources.suggest(path)
    with pytest.raises(UserError, match=r"set source\.label=txt \(it has \.txt\)"):
        sources.listing(source(**found))
    assert sources.listing(source(**found, label="txt")).counts() == {"a": 2, "b": 2}
    # Texts beside the pictures of class folders are no labels.
    classes = shard(tmp_path / "y.tar", {f"{'ab'[i % 2]}/{i}": one for i, one in enumerate(texts.values())})
    assert sources.listing(source(**sources.suggest(classes))).classes == ("a", "b")
    arrays = {f"{i}": {"npy": b"\x93NUMPY", "cls": b"a"} for i in range(2)}
    found = sources.suggest(shard(tmp_path / "z.tar", arrays))
    for more in ({}, {"image": "npy"}):
        with pytest.raises(UserError, match=r"npy.*arrays in tars are not read.*np\.savez"):
            sources.listing(source(**found, **more))
