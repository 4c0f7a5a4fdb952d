"""Columns of a table that are a split."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from labelled_tables import labelled_table, listed, load_source
from pictures import source

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.data.sources._listing import SPLIT_NAMES


def test_numbers_of_splits_are_mapped(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["a", "b"] * 3, split=[0, 0, 1, 1, 2, 2])
    with pytest.raises(UserError) as caught:
        listed(path)
    assert "unknown split '0' in the manifest" in str(caught.value)
    assert "'split' has 0, 1, 2; choose from train, training, val, valid" in str(caught.value)
    assert "--set 'source.splits={0: train, 1: val, 2: test}'" in str(caught.value)
    listing = listed(path, splits={0: "train", 1: "val", 2: "test"})
    assert listing.splits.tolist() == ["train", "train", "val", "val", "test", "test"]
    with pytest.raises(UserError, match=r"unknown value in source\.splits of .* '3'"):
        listed(path, splits={0: "train", 1: "val", 2: "test", 3: "test"})
    with pytest.raises(UserError, match=r"source\.splits is set, and .* no values in a column"):
        listed(labelled_table(tmp_path, ["a", "b"]), splits={0: "train"})
    with pytest.raises(ValueError, match=r"unknown split in source\.splits 'tset'"):
        source("manifest", path=path, splits={2: "tset"})


@pytest.mark.parametrize(
    ("name", "values", "options"),
    [
        ("Split", "train test", {}),
        ("set", "Training VALID", {}),
        ("data subset", "train dev", {}),
        ("is_train", "1 0", {"1": "train", "0": "test"}),
        ("isTest", "True False", {"True": "test", "False": "train"}),
        ("partition", "trainval test", {"trainval": "train", "test": "test"}),
        ("split", "trainval test", {"trainval": "train", "test": "test"}),
        ("split", "0 1 2 3", {"0": "train", "1": "train", "2": "val", "3": "test"}),
        ("split", "ja nein", {"ja": "train", "nein": "test"}),
    ],
)
def test_the_users_own_split_is_not_passed_over(
    tmp_path: Path, name: str, values: str, options: dict[str, str]
) -> None:
    """Refused under another name than `split`; what the message proposes is a split."""
    each: list[object] = list(values.split() * 6)
    path = labelled_table(tmp_path, ["a", "b", "c"] * (len(each) // 3), **{name: each})
    with pytest.raises(UserError) as caught:
        listed(path)
    message = str(caught.value).partition("), or draw another split")[0]
    words = shlex.split(message[message.index("--set ") :])
    sets = [word for word in words if word != "--set"]
    assert [s for s in sets if "splits" not in s] == (["source.columns.split=" + name] * (name != "split"))
    experiment = load_source(path, sets)
    assert dict(experiment.splits) == options
    have = [options.get(v, SPLIT_NAMES.get(v.lower())) for v in each]
    assert sources.listing(experiment).splits.tolist() == have
    if name != "split":
        assert listed(path, ignore=[name]).splits is None


@pytest.mark.parametrize("name", ["Patient Name", "Patient.Name", "Patient: Name", "Patient's_ID", "Patient #"])
def test_advice_can_be_pasted_into_a_shell(tmp_path: Path, name: str) -> None:
    """Names of columns with spaces, dots and signs of YAML."""
    path = labelled_table(tmp_path, ["a", "b"] * 12, **{name: [f"p{i // 4}" for i in range(24)]})
    with pytest.raises(UserError, match="which looks like groups") as caught:
        listed(path)
    use, ignore = re.findall(r"(?:set|or) (\S*source\..*?)(?=, or | if it is)", str(caught.value))
    assert len(shlex.split(f"--set {use}")) == len(shlex.split(f"--set {ignore}")) == 2
    assert len(set(sources.listing(load_source(path, shlex.split(use))).groups)) == 6
    assert sources.listing(load_source(path, shlex.split(ignore))).groups is None
    split = labelled_table(tmp_path, ["a", "b"] * 12, **{f"Split {name}": ["train", "val", "test"] * 8})
    with pytest.raises(UserError, match="which looks like its split") as caught:
        listed(split)
    option = re.search(r"use it \(--set (.*?)\), or draw", str(caught.value))[1]
    assert sources.listing(load_source(split, shlex.split(option))).splits is not None
    columns = {"Image Index": ["img/0.png", "img/1.png"], f"Finding {name}": ["a", "b"], "7": ["a", "b"]}
    pd.DataFrame(columns).to_csv(tmp_path / "n.csv", index=False)
    with pytest.raises(UserError, match="has no column 'path'") as caught:
        listed(tmp_path / "n.csv")
    assert shlex.split(str(caught.value).partition("; try ")[2])[:2] == ["--set", "source.columns.path=Image Index"]


def test_numbered_folds_are_noted_and_other_subsets_are_not(tmp_path: Path) -> None:
    folds, subset = [0, 1, 2, 3] * 3, ["north", "south"] * 6
    path = labelled_table(tmp_path, ["a", "b", "c"] * 4, fold=folds, subset=subset)
    (_, note) = listed(path).notes
    assert "--set 'source.splits={0: test, 1: train, 2: train, 3: train}'" in note


def test_a_split_in_numbers_is_noted(tmp_path: Path) -> None:
    """As CelebA's list_eval_partition.csv."""
    path = labelled_table(tmp_path, ["a", "b"] * 6, partition=[0, 1, 2] * 4)
    (note,) = [note for note in listed(path).notes if "may number train" in note]
    sets = [part for part in shlex.split(note) if part.startswith("source.")]
    assert sources.listing(load_source(path, sets)).splits.tolist() == ["train", "val", "test"] * 4
    assert not any("may number" in one for one in listed(path, ignore=["partition"]).notes)


def test_common_names_of_splits(tmp_path: Path) -> None:
    names = ["training", "Valid", "validation", "dev", "testing", "TEST"]
    listing = listed(labelled_table(tmp_path, ["a", "b"] * 3, split=names))
    assert listing.splits.tolist() == ["train", "val", "val", "val", "test", "test"]
