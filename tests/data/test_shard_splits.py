"""The user's own split in a column of Parquet or a key of WebDataset's .json files, as tables have it;
fields of structs.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pictures import source
from shards import described, hugging_face, shard

from augpipe.core.errors import UserError
from augpipe.data import sources


def parquet_set(folder: Path, name: str, values: list[Any]) -> Any:
    """The options of a Parquet file with this column."""
    labels = [i % 2 for i in range(len(values))]
    return {"kind": "huggingface", "path": hugging_face(folder / "x.parquet", labels, **{name: values})}


def tar_set(folder: Path, name: str, values: list[Any]) -> Any:
    """The options of a shard with this key in its .json files."""
    samples = described(*({"dx": "ab"[i % 2], name: value} for i, value in enumerate(values)))
    return {"kind": "webdataset", "path": shard(folder / "x.tar", samples), "label": "dx"}


@pytest.mark.parametrize("kind", [parquet_set, tar_set])
def test_the_users_own_split_is_used(tmp_path: Path, kind: Callable[[Path, str, list[Any]], Any]) -> None:
    """As in tables: `split` is used, another name is refused with the options that use it, and folds are noted."""
    options = kind(tmp_path, "split", ["train", "train", "Validation", "test", None, "train"])
    listing = sources.listing(source(**options))
    assert listing.splits.tolist() == ["train", "train", "val", "test", "train"]
    assert [one.reason for one in listing.bad] == [
        "no split, although other images have one: write train, val or test, or leave them out"
    ]
    assert not any("not used" in note and "split" in note for note in listing.notes)
    assert sources.listing(source(**options, official=False)).splits is None
    assert sources.listing(source(**options, ignore=["split"])).splits is None
    with pytest.raises(ValueError, match=r"split: split has no effect with official: false"):
        source(**options, official=False, split="split")
    with pytest.raises(UserError, match=r"unknown (column|key) .*source\.split .* 'spilt'"):
        sources.listing(source(**options, split="spilt"))

    options = kind(tmp_path, "subset", ["trainval", "test"] * 3)
    with pytest.raises(UserError, match=r"has the (column|key) 'subset' with test, trainval") as e:
        sources.listing(source(**options))
    words = shlex.split(str(e.value).partition("), or draw")[0].partition("use it (")[2])
    assert words == ["--set", "source.split=subset", "--set", "source.splits={test: test, trainval: train}"]
    chosen = options | {"split": "subset", "splits": {"test": "test", "trainval": "train"}}
    assert sources.listing(source(**chosen)).splits.tolist() == ["train", "test"] * 3
    with pytest.raises(UserError, match=r"unknown split 'trainval' in .* whose (column|key) 'subs"):
        sources.listing(source(**options, split="subset"))
    with pytest.raises(UserError, match=r"source\.splits is set, and .* has no (column|key) 'split'"):
        sources.listing(source(**options, ignore=["subset"], splits={"a": "test"}))

    with pytest.raises(UserError, match=r"has the (column|key) 'cohort' with test, train, which"):
        sources.listing(source(**kind(tmp_path, "cohort", ["train", "test"] * 3)))
    kinds = sources.listing(source(**kind(tmp_path, "cohort", ["train", "bus"] * 3)))
    assert kinds.splits is None

    folds = sources.listing(source(**kind(tmp_path, "fold", [0, 1, 2] * 2)))
    assert folds.splits is None and any("numbers folds" in note for note in folds.notes)
    is_train = kind(tmp_path, "is_train", [True, False] * 3)
    with pytest.raises(UserError, match=r'source\.splits=\{"false": test, "true": train\}'):
        sources.listing(source(**is_train))


def test_files_that_name_the_split_come_before_a_column(tmp_path: Path) -> None:
    hugging_face(tmp_path / "train-0.parquet", [0, 1], split=["train", "test"])
    hugging_face(tmp_path / "test-0.parquet", [0, 1], 10, split=["train", "test"])
    by_name = sources.listing(source("huggingface", path=tmp_path))
    assert by_name.splits.tolist() == ["test"] * 2 + ["train"] * 2
    assert by_name.notes[0].endswith(": split")
    chosen = sources.listing(source("huggingface", path=tmp_path, split="split"))
    assert chosen.splits.tolist() == ["train", "test"] * 2
    with pytest.raises(UserError, match=r"source\.splits is set, and the names of the files"):
        sources.listing(source("huggingface", path=tmp_path, splits={"train": "train"}))


def test_fields_of_structs_in_parquet(tmp_path: Path) -> None:
    """A patient inside a struct is not passed over; labels, groups and splits may be in one."""
    n = 24
    meta = [{"patient_id": f"p{i // 4}", "dx": i // 4 % 2, "split": "test" if i > 15 else "train"} for i in range(n)]
    path = hugging_face(tmp_path / "x.parquet", [i // 4 % 2 for i in range(n)], meta=meta)
    with pytest.raises(UserError, match=r"'meta\.patient_id', which looks like groups.*=meta\.pat"):
        sources.listing(source("huggingface", path=path, official=False))
    options = {"path": path, "group": "meta.patient_id", "label": "meta.dx"}
    with pytest.raises(UserError, match=r"source\.split=meta\.split"):
        sources.listing(source("huggingface", **options))
    listing = sources.listing(source("huggingface", **options, split="meta.split"))
    assert listing.groups.tolist() == [one["patient_id"] for one in meta]
    assert listing.splits.tolist() == [one["split"] for one in meta]
    assert listing.counts() == {"0": 12, "1": 12}
    with pytest.raises(UserError, match=r"source\.group of .* 'meta\.patient'.*meta\.patient_id"):
        sources.listing(source("huggingface", path=path, group="meta.patient"))


def test_class_names_of_a_struct(tmp_path: Path) -> None:
    features = {
        "image": {"_type": "Image"},
        "objects": {"kind": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "n": {"_type": "Value"}},
    }
    path = hugging_face(tmp_path / "x.parquet", [0, 1], objects=[{"kind": 1, "n": 7}, None])
    table = pa.parquet.read_table(path).drop_columns(["label"])
    info = {"huggingface": json.dumps({"info": {"features": features}})}
    pa.parquet.write_table(table.replace_schema_metadata(info), path)
    listing = sources.listing(source("huggingface", path=path))
    assert listing.counts() == {"dog": 1} and [one.reason for one in listing.bad] == ["no label"]
