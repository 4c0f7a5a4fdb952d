"""Files that hold parts of a set, Hugging Face's Parquet and WebDataset's tars: splits, links and mistakes of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, save, source
from pyarrow import parquet
from shards import hugging_face, numbered, png, shard

from augpipe.core.errors import UserError
from augpipe.data import sources


def test_a_shard_without_a_split_beside_others(tmp_path: Path) -> None:
    for name in ("train-0", "test-0", "extra"):
        shard(tmp_path / f"{name}.tar", numbered([0, 1]))
    with pytest.raises(UserError, match=r"the file 'extra' of .* names no split, and others do"):
        sources.listing(source("webdataset", path=tmp_path))
    assert len(sources.listing(source("webdataset", path=tmp_path, official=False))) == 6


def test_shards_that_only_partly_name_a_split(tmp_path: Path) -> None:
    for name, other in (("trainval-0", "test-0"), ("train-0", "holdout-0")):
        for one in (name, other):
            shard(tmp_path / name / f"{one}.tar", numbered([0, 1]))
        with pytest.raises(UserError, match=r"names no split, and others do, such as 't.*official"):
            sources.listing(source("webdataset", path=tmp_path / name))
        assert len(sources.listing(source("webdataset", path=tmp_path / name, official=False))) == 4


def test_several_folders_are_splits_by_their_names(tmp_path: Path) -> None:
    folders_ = [tmp_path / "train", tmp_path / "test"]
    for start, folder in enumerate(folders_):
        shard(folder / "0.tar", numbered([0, 1], 10 * start))
        hugging_face(folder / "0.parquet", [0, 1], 10 * start)
    for kind, ids in (
        ("webdataset", ["train/0/000000", "test/0/000011"]),
        ("huggingface", ["train/0/000000", "test/0/000001"]),
    ):
        listing = sources.listing(source(kind, path=folders_))
        assert [listing.ids[0], listing.ids[3]] == ids
        assert listing.splits.tolist() == ["train"] * 2 + ["test"] * 2
        assert list(listing.fetch(np.array([0, 3]))) == [png(0), png(11)]
        with pytest.raises(UserError, match=r"has the file .* twice"):
            sources.listing(source(kind, path=[tmp_path, folders_[0]]))


def test_a_shard_that_is_a_link_to_outside_is_lost(tmp_path: Path) -> None:
    for kind, name, inside, outside in (
        (
            "webdataset",
            "1.tar",
            shard(tmp_path / "w/0.tar", numbered([0, 1])),
            shard(tmp_path / "blob1", numbered([0])),
        ),
        (
            "huggingface",
            "1.parquet",
            hugging_face(tmp_path / "h/0.parquet", [0, 1]),
            hugging_face(tmp_path / "blob2", [0]),
        ),
    ):
        (inside.parent / name).symlink_to(outside)
        (inside.parent / "README.md").symlink_to(outside)
        (inside.parent / "picture").write_bytes(png(0))
        (inside.parent / "logo.svg").write_text("x")
        listing = sources.listing(source(kind, path=inside.parent))
        assert listing.ignored == {".md": 1, "no suffix": 1, ".svg": 1}
        assert not listing.bad and len(listing.lost) == 1
        assert f"{name}: a link to outside" in listing.lost[0]
        inside.unlink()
        with pytest.raises(UserError, match=r"no usable .* file; .*a link to outside .*cp -rL"):
            sources.listing(source(kind, path=inside.parent))


def test_mistakes_are_reported_before_a_picture_is_read(tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "h" / "train.parquet", [0, 1, 1], who=list("ppq"))
    values = [{"dx": "ab"[i % 2], "who": i} for i in range(3)]
    samples = {f"{i}": {"png": b"no picture", "json": json.dumps(v).encode()} for i, v in enumerate(values)}
    tar = shard(tmp_path / "w" / "train.tar", samples)
    for options, message in (
        ({"label": "image"}, r"source\.label is 'image', the column of images in .*; choose from label, who"),
        ({"group": "label"}, r"source\.group is 'label', the column of labels: every class would be one"),
        ({"label": "lable"}, r"unknown column in source\.label of .* 'lable' \(did you mean 'label'"),
        ({"image": "img"}, r"unknown column of images in .* 'img' \(did you mean 'image'"),
    ):
        for read in (sources.check, sources.listing):  # check: before any server starts
            with pytest.raises(UserError, match=message):
                read(source("huggingface", path=path, **options))
    with pytest.raises(UserError, match=r"unknown class in source\.classes of .* 'dgo' \(did you mean"):
        sources.listing(source("huggingface", path=path, group="who", classes=["cat", "dgo"]))
    parquet.write_table(parquet.read_table(path).slice(0, 0), tmp_path / "none.parquet")
    with pytest.raises(UserError, match=r"none\.parquet has no rows"):
        sources.listing(source("huggingface", path=tmp_path / "none.parquet"))
    for options, message in (
        ({"label": "xd"}, r"unknown key of the \.json files in source\.label of .* 'xd'; choose from cls, dx, who"),
        ({"label": "dx", "group": "dx"}, r"source\.group is 'dx', the key of labels: every class"),
        ({"label": "dx", "names": ["x", "y"]}, r"source\.names has 2 names .*; .* has 'a'"),
        ({"label": "dx", "classes": ["a", "c"]}, r"unknown class in source\.classes of .* 'c'"),
    ):
        with pytest.raises(UserError, match=message):
            sources.listing(source("webdataset", path=tar, **options))
    with pytest.raises(ValueError, match="duplicate class 'a'"):
        source("webdataset", path=tar, names=["a", "a"])
    shard(tar, {"0": {"raw": b"x", "cls": b"1"}})
    with pytest.raises(UserError, match=r"no file with the suffix of a picture, and others: \.raw; set"):
        sources.listing(source("webdataset", path=tar))


@pytest.mark.parametrize(("kind", "suffix"), [("huggingface", ".parquet"), ("webdataset", ".tar")])
def test_files_that_are_not_there_in_full(tmp_path: Path, kind: str, suffix: str) -> None:
    """As after a clone without Git LFS; a folder of them is no folder of classes without pictures."""
    path = tmp_path / f"train-0{suffix}"
    for content, message in (
        (b"version https://git-lfs.github.com/spec/v1\nsize 1\n", r"a pointer of Git LFS, .* `git lfs pull`"),
        (b"", r"the file .*train-0.* is empty"),
        (b"neither" * 100, r"cannot read .*train-0"),
    ):
        path.write_bytes(content)
        config = sources.suggest(tmp_path)
        assert config["kind"] == kind
        with pytest.raises(UserError, match=message) as caught:
            sources.listing(source(**config))
        assert "method" not in str(caught.value)  # of tarfile's list of attempts
    save(tmp_path / "a" / "0.png", noise(0))
    assert sources.suggest(tmp_path)["kind"] == "folder"


@pytest.mark.parametrize("kind", ["huggingface", "webdataset"])
def test_a_shard_that_is_missing_by_its_number(tmp_path: Path, kind: str) -> None:
    for number, first in ((0, 0), (2, 10)):
        name = f"train-0000{number}-of-00003"
        if kind == "huggingface":
            hugging_face(tmp_path / f"{name}.parquet", [0, 1, 1], first)
        else:
            samples = {f"{first + i}": {"png": png(first + i), "cls": b"ab"[i % 2 : i % 2 + 1]} for i in range(3)}
            shard(tmp_path / f"{name}.tar", samples)
    with pytest.raises(UserError, match="train-00001-of-00003 is missing, and 2 files of the 3 are"):
        sources.listing(source(kind, path=tmp_path))
    given = sources.listing(source(kind, path=sorted(tmp_path.iterdir())))  # the user's choice
    assert len(given.ids) == 6
