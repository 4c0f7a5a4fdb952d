"""Tables as others write them: encodings, several folders of pictures, labels in other forms,
CelebA's text, JSON Lines.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pictures import noise, save, source
from pyarrow import parquet as pq
from shards import png, shard

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.data.sources._listing import SPLIT_NAMES
from augpipe.data.sources._paths import unique_ids
from augpipe.data.sources._unused import like_groups
from flows.inspection import _experiment


def images(root: Path, n: int, folder: str = "img") -> list[str]:
    """n pictures below a folder, and their paths relative to the root."""
    paths = [f"{folder}/{i}.png" for i in range(n)]
    for i, path in enumerate(paths):
        save(root / path, noise(i))
    return paths


def labelled_table(root: Path, labels: list[object], **columns: list[object]) -> Path:
    """A table of as many pictures as labels."""
    frame = pd.DataFrame({"path": images(root, len(labels)), "label": labels, **columns})
    frame.to_csv(root / "m.csv", index=False)
    return root / "m.csv"


def load_source(path: Path, sets: list[str]) -> Any:
    """The table's options with `--set`s, as the command reads them."""
    return _experiment({"source": sources.suggest(path)}, path, sets).source


def listed(path: Path, **options: object) -> sources.Listing:
    return sources.listing(source("manifest", path=path, **options))


# folders of pictures


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


def test_roots_of_one_name_and_paths_like_a_root(tmp_path: Path) -> None:
    roots = two_roots(tmp_path, "one/img", "two/img")
    paths = np.array(["0.png", "0.png", "1.png"], object)
    assert unique_ids(paths, np.array([0, 1, 1]), roots) == ["one/img/0.png", "two/img/0.png", "1.png"]
    paths = np.array(["0.png", "0.png", "one/img/0.png"], object)
    assert unique_ids(paths, np.array([0, 1, 1]), roots) == ["one/img/0.png", "two/img/0.png", "two/img/one/img/0.png"]


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


def test_a_proposal_where_the_path_is_called_target(tmp_path: Path) -> None:
    """The name is one of labels, and the user took it for the path."""
    frame = pd.DataFrame({"target": ["gone/0.png"] * 4, "kind": ["x", "y"] * 2})
    frame.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"has no column 'label'; it has target, kind"):
        listed(tmp_path / "m.csv", columns={"path": "target"})


# optional columns


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


def test_groups_in_a_table_beside_are_not_passed_over(tmp_path: Path) -> None:
    """As ISIC's lesions; the other table names the pictures without folder and suffix."""
    paths = images(tmp_path, 12)
    frame = pd.DataFrame({"path": paths, "label": ["x", "y"] * 6})
    frame.to_csv(tmp_path / "m.csv", index=False)
    beside = pd.DataFrame({"image": [Path(path).stem for path in paths], "age": 50})
    beside["lesion_id"] = [f"L{i // 2}" for i in range(12)]
    beside.to_csv(tmp_path / "a.csv", index=False)
    message = r"a\.csv has the column 'lesion_id' of these pictures, .*source\.ignore=\[lesion_id\]"
    with pytest.raises(UserError, match=message):
        listed(tmp_path / "m.csv")
    assert listed(tmp_path / "m.csv", ignore=["lesion_id"]).groups is None
    sets = [f"source.join={tmp_path / 'a.csv'}", "source.columns.group=lesion_id"]
    with pytest.raises(UserError, match=re.escape(" ".join(f"--set {one}" for one in sets))):
        listed(tmp_path / "m.csv")
    joined = sources.listing(load_source(tmp_path / "m.csv", sets))
    assert joined.groups.tolist() == [f"L{i // 2}" for i in range(12)]
    beside.assign(image=[f"other{i}" for i in range(12)]).to_csv(tmp_path / "a.csv", index=False)
    assert listed(tmp_path / "m.csv").groups is None
    frame.assign(group=beside["lesion_id"]).to_csv(tmp_path / "m.csv", index=False)
    beside.to_csv(tmp_path / "a.csv", index=False)
    assert len(set(listed(tmp_path / "m.csv").groups)) == 6


@pytest.mark.parametrize("name", ["list_eval_partition.txt", "list_eval_partition.csv"])
def test_a_split_in_a_table_beside_is_noted(tmp_path: Path, name: str) -> None:
    """As CelebA's, in numbers: the note has the options that use it."""
    path = labelled_table(tmp_path, ["a", "b"] * 6)
    lines = [f"img/{i}.png {(0, 1, 2)[i % 3]}" for i in range(12)]
    text = "\n".join(lines) if name.endswith("txt") else "image_id,partition\n" + "\n".join(lines).replace(" ", ",")
    (tmp_path / name).write_text(text + "\n")
    (note,) = listed(path).notes
    sets = [word for word in shlex.split(note) if word.startswith("source.")]
    assert sources.listing(load_source(path, sets)).splits.tolist() == ["train", "val", "test"] * 4


def test_lists_of_a_split_beside_a_table_are_noted(tmp_path: Path) -> None:
    """As NIH's."""
    path = labelled_table(tmp_path, ["a", "b"] * 6)
    (tmp_path / "train_val_list.txt").write_text("\n".join(f"{i}.png" for i in range(8)))
    (tmp_path / "test_list.txt").write_text("\n".join(f"{i}.png" for i in range(8, 12)))
    (note,) = listed(path).notes
    assert "test_list.txt" in note and "train_val_list.txt" in note and "are not used" in note


def test_identities_that_are_mostly_of_one_picture_can_be_joined(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["a", "b"] * 6)
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"img/{i}.png {max(i, 2)}\n" for i in range(12)))
    with pytest.raises(UserError, match="'identity_CelebA' of these pictures, which looks like groups"):
        listed(path)
    joined = listed(path, join=[tmp_path / "identity_CelebA.txt"], columns={"group": "identity_CelebA"})
    assert len(set(joined.groups)) == 10


def test_columns_of_joined_tables(tmp_path: Path) -> None:
    """By path or name; rows in another order; names that both tables have;
    CelebA's list of identities without column names.
    """
    paths = images(tmp_path, 12)
    frame = pd.DataFrame({"path": paths, "label": ["x", "y"] * 6, "age": 1})
    frame.to_csv(tmp_path / "m.csv", index=False)
    order = list(reversed(range(12)))
    split = ["train", "val", "test"] * 4
    other = pd.DataFrame({"name": [f"{i}.PNG" for i in range(12)], "split": split, "age": range(12)})
    other.iloc[order].to_parquet(tmp_path / "s.parquet")
    lines = [f"{i}.png {100 + i // 3}" for i in order[:-1]]
    (tmp_path / "identity_CelebA.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match="the column 'identity_CelebA' of these pictures, which looks"):
        listed(tmp_path / "m.csv")
    join = [tmp_path / "s.parquet", tmp_path / "identity_CelebA.txt"]
    images_ = listed(tmp_path / "m.csv", join=join, columns={"group": "identity_CelebA"})
    assert images_.splits.tolist() == split
    assert images_.groups.tolist() == ["img/0.png", *(str(100 + i // 3) for i in range(1, 12))]
    assert f"1 row without one in the joined table {join[1]}" in images_.notes
    assert any(note.endswith("m.csv: age, s.age") for note in images_.notes)
    pd.concat([other, other.assign(age=0)]).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(UserError, match=r"s\.parquet in source\.join has '1\.PNG' twice"):
        listed(tmp_path / "m.csv", join=join)
    other[["split"]].to_csv(tmp_path / "o.csv", index=False)
    for name, message in (("o.csv", "o.csv in source.join names most"), ("no.csv", "does not exist")):
        with pytest.raises(UserError, match=message):
            listed(tmp_path / "m.csv", join=tmp_path / name)


def test_patients_as_numbers_with_gaps(tmp_path: Path) -> None:
    """Which are stored as floats; measurements with fractions are no groups."""
    frame = pd.DataFrame({"path": images(tmp_path, 20), "label": ["x"] * 10 + ["y"] * 10})
    frame["patient"] = [np.nan, *(float(i // 2) for i in range(19))]
    frame.to_parquet(tmp_path / "m.parquet")
    with pytest.raises(UserError, match="has the column 'patient', which looks like groups"):
        listed(tmp_path / "m.parquet")
    frame["patient"] += 0.5
    frame.to_parquet(tmp_path / "m.parquet")
    assert listed(tmp_path / "m.parquet").groups is None


@pytest.mark.parametrize("form", ["decimal", "date", "bytes", "list", "category", "float"])
def test_patients_of_any_type(tmp_path: Path, form: str) -> None:
    """In a table and in Parquet with pictures they are refused unless used, and used as they are."""
    n = [i // 2 for i in range(20)]
    numbers = pa.array(n)
    patients = {
        "decimal": numbers.cast(pa.decimal128(20)),
        "date": numbers.cast(pa.int32()).cast(pa.date32()),
        "bytes": pa.array([bytes([200 + i]) for i in n]),
        "list": pa.array([[i] for i in n]),
        "category": pa.array([f"q{i}" for i in n]).dictionary_encode(),
        "float": numbers.cast(pa.float64()),
    }[form]
    label = pa.array(["x", "y"] * 10)
    paths = images(tmp_path, 20)
    table = pa.table({"path": paths, "label": label, "patient_id": patients})
    pq.write_table(table, tmp_path / "m.parquet")
    shard = pa.table({"image": [png(i) for i in range(20)], "label": label, "patient_id": patients})
    (tmp_path / "hf").mkdir()
    pq.write_table(shard.slice(0, 14), tmp_path / "hf" / "a.parquet")
    pq.write_table(shard.slice(14).drop_columns("patient_id"), tmp_path / "hf" / "b.parquet")
    with pytest.raises(UserError, match=r"set source\.columns\.group=patient_id"):
        listed(tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"set source\.group=patient_id"):
        sources.listing(source("huggingface", path=tmp_path / "hf"))
    assert len(set(listed(tmp_path / "m.parquet", columns={"group": "patient_id"}).groups)) == 10
    pq.write_table(shard.slice(14), tmp_path / "hf" / "b.parquet")
    grouped = sources.listing(source("huggingface", path=tmp_path / "hf", group="patient_id"))
    assert len(set(grouped.groups)) == 10


def test_patients_inside_of_an_object(tmp_path: Path) -> None:
    """In JSON Lines, Parquet and WebDataset's .json files: `meta.patient_id`."""
    rows = [
        {"path": path, "label": "xy"[i % 2], "meta": {"patient_id": i // 2, "hospital": "a"}}
        for i, path in enumerate(images(tmp_path, 20))
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pd.DataFrame(rows).to_parquet(tmp_path / "m.parquet")
    samples = {f"{i}": {"png": png(i), "json": json.dumps(row).encode()} for i, row in enumerate(rows)}
    shard(tmp_path / "set" / "0.tar", samples)
    tar = {"path": tmp_path / "set", "label": "label", "ignore": ["path"]}
    with pytest.raises(UserError, match=r"set source\.group=meta\.patient_id"):
        sources.listing(source("webdataset", **tar))
    groups = [sources.listing(source("webdataset", group="meta.patient_id", **tar)).groups]
    for name in ("m.jsonl", "m.parquet"):
        with pytest.raises(UserError, match=r"set source\.columns\.group=meta\.patient_id"):
            listed(tmp_path / name)
        groups.append(listed(tmp_path / name, columns={"group": "meta.patient_id"}).groups)
    assert [len(set(one)) for one in groups] == [10, 10, 10]


def test_patients_in_the_paths_of_a_table(tmp_path: Path) -> None:
    """As in CheXpert's and MIMIC-CXR's: no column has them."""
    paths = [f"train/patient{i // 2:05d}/study{i % 2}/1.png" for i in range(12)]
    for i, path in enumerate(paths):
        save(tmp_path / path, noise(i))
    pd.DataFrame({"path": paths, "label": ["a", "b"] * 6}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"'patient00000', which look like groups.*group_folder=2, "):
        listed(tmp_path / "m.csv")
    groups = listed(tmp_path / "m.csv", group_folder=2).groups
    assert groups.tolist() == [f"patient{i // 2:05d}" for i in range(12)]
    assert listed(tmp_path / "m.csv", group_folder=0).groups is None
    with pytest.raises(ValueError, match=r"group_folder and columns\.group are mutually exclusive"):
        source("manifest", path="m.csv", group_folder=2, columns={"group": "who"})


def test_a_folder_of_groups_that_no_path_has(tmp_path: Path) -> None:
    labelled_table(tmp_path, ["a", "b"] * 6)
    with pytest.raises(UserError, match=r"source\.group_folder is 2, and no path .*'img/0\.png', which has 1"):
        listed(tmp_path / "m.csv", group_folder=2)


def test_the_widest_of_several_groups(tmp_path: Path) -> None:
    """A patient has several studies: groups of studies leave the patient on both sides of a split."""
    paths, patients = images(tmp_path, 24), [f"P{i // 6}" for i in range(24)]
    frame = pd.DataFrame({"path": paths, "study": [i // 2 for i in range(24)], "patient": patients})
    frame["label"] = ["a", "a", "b", "b"] * 6
    frame.to_csv(tmp_path / "m.csv", index=False)
    wide = r"the columns 'study', 'patient', .*set {}=patient, the widest groups, .*\[study, patient\]"
    with pytest.raises(UserError, match=wide.format(r"source\.columns\.group")):
        listed(tmp_path / "m.csv")
    finer = listed(tmp_path / "m.csv", columns={"group": "study"})
    note = "those of the column 'patient', which is not used: images of one of these could be on both sides"
    assert len(set(finer.groups)) == 12 and any(note in one for one in finer.notes)
    wider = listed(tmp_path / "m.csv", columns={"group": "patient"})
    assert len(set(wider.groups)) == 4 and not any("which is not used" in one for one in wider.notes)
    assert not any(
        note in one for one in listed(tmp_path / "m.csv", columns={"group": "study"}, ignore=["patient"]).notes
    )
    frame.rename(columns={"label": "dx"}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"columns\.label=dx --set source\.columns\.group=patient$"):
        listed(tmp_path / "m.csv")
    samples = {
        f"{i}": {
            "png": png(i),
            "cls": row.label.encode(),
            "json": json.dumps({"study": row.study, "patient": row.patient}).encode(),
        }
        for i, row in enumerate(frame.itertuples())
    }
    shard(tmp_path / "set" / "0.tar", samples)
    with pytest.raises(UserError, match=wide.format(r"source\.group").replace("column", "key")):
        sources.listing(source("webdataset", path=tmp_path / "set"))


def test_columns_of_string_views(tmp_path: Path) -> None:
    """As Polars and newer Arrow write text."""
    table = pa.table({"path": images(tmp_path, 2), "label": ["x", "y"]})
    view = pa.schema([(name, pa.string_view()) for name in table.column_names])
    pq.write_table(table.cast(view), tmp_path / "m.parquet")
    assert listed(tmp_path / "m.parquet").classes == ("x", "y")


def test_one_long_cell_takes_no_memory_for_all(tmp_path: Path) -> None:
    """Text of fixed width would take 4 bytes x 1,000,000 characters x 2,000 rows."""
    values = np.array([f"p{i // 2}" for i in range(2000)], object)
    values[0] = "x" * 1_000_000
    labels = np.arange(2000) % 4 // 2
    tracemalloc.start()
    assert like_groups("patient", values, labels)
    assert not like_groups("score", np.linspace(0, 1, 2000).astype(np.float16), labels)
    rows = "gone.png,1,0\n" * 500
    (tmp_path / "m.csv").write_text(f"path,x,y\n{rows}gone.png,1,{'y' * 500_000}\n")
    with pytest.raises(UserError, match=r"row 501 of the manifest .* has the labels") as caught:
        listed(tmp_path / "m.csv", columns={"label": ["x", "y"]})
    assert len(str(caught.value)) < 1000
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


# labels and splits


def test_labels_that_python_reads_as_numbers_are_text(tmp_path: Path) -> None:
    names = ["1_0", "10", "inf", "1e2", "100", "nan", "infinity"]
    assert set(listed(labelled_table(tmp_path, names)).classes) == set(names)
    with pytest.raises(UserError, match=r"'1' and '1\.0' of .* are the same number"):
        listed(labelled_table(tmp_path, ["1", "1.0", "a"]))


def test_a_column_of_floats_is_one_of_integers(tmp_path: Path) -> None:
    listing = listed(labelled_table(tmp_path, [0.0, 1.0, None, 10.0]))
    assert listing.classes == ("0", "1", "10") and len(listing.bad) == 1
    assert listed(labelled_table(tmp_path, ["0.5", "1.0"])).classes == ("0.5", "1.0")


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


def test_common_names_of_splits(tmp_path: Path) -> None:
    names = ["training", "Valid", "validation", "dev", "testing", "TEST"]
    listing = listed(labelled_table(tmp_path, ["a", "b"] * 3, split=names))
    assert listing.splits.tolist() == ["train", "val", "val", "val", "test", "test"]


@pytest.mark.parametrize(
    ("labels", "joined"),
    [
        (["A", "B", "A|B", "B|C", "A"], {"A|B", "B|C"}),
        (["A", "B", "A;B", "B; A", "A"], {"A|B"}),
        (["A", "B", "A, B", "C,A", "D,E"], {"A|B", "A|C", "D,E"}),
    ],
)
def test_several_labels_in_a_cell(tmp_path: Path, labels: list[str], joined: set[str]) -> None:
    path = labelled_table(tmp_path, labels)
    with pytest.raises(UserError) as caught:
        listed(path)
    assert (
        f"has several labels in one cell of the column 'label' in 2 rows of 5, such as {labels[2]!r}: "
        "set source.combined=drop" in str(caught.value)
    )
    single = listed(path, combined="drop")
    assert not set(single.classes) & set(labels[2:4]) and len(single) == 3 and not single.bad
    assert "2 rows with several labels left out" in single.notes
    assert set(listed(path, combined="class").classes) == {"A", "B"} | joined
    assert listed(path, classes=["A", "B"]).classes == ("A", "B")


@pytest.mark.parametrize(
    ("labels", "joined"),
    [
        (["cat", "dog", "cat dog", "emu", "fat cat"], {"cat", "dog", "emu", "fat cat", "cat|dog"}),
        (["16 0", "3", "3 16"], {"3", "0|16", "16|3"}),
    ],
)
def test_several_labels_between_spaces(tmp_path: Path, labels: list[str], joined: set[str]) -> None:
    """As Kaggle's sets have them; a space is also in the name of one class."""
    path = labelled_table(tmp_path, labels)
    with pytest.raises(UserError, match=r"several labels in one cell .* set source\.combined=drop"):
        listed(path)
    assert set(listed(path, combined="class").classes) == joined
    birds = ["american crow", "fish crow", "american black duck", "american duck", "black tern"]
    assert set(listed(labelled_table(tmp_path, birds)).classes) == set(birds)


@pytest.mark.parametrize("labels", [("A|B", "B|A", "A | B"), ("A;B", "B;A", "B ; A")])
def test_a_combination_is_one_class_in_any_order(tmp_path: Path, labels: tuple[str, ...]) -> None:
    path = labelled_table(tmp_path, ["A", *labels, "B"])
    assert listed(path, combined="class").counts() == {"A": 1, "A|B": 3, "B": 1}


@pytest.mark.parametrize(
    ("uncertain", "counts"), [("drop", {"x": 3, "y": 2}), (0, {"x": 5, "y": 2}), (1, {"x": 3, "y": 3})]
)
def test_uncertain_one_hot_labels(tmp_path: Path, uncertain: object, counts: dict[str, int]) -> None:
    """CheXpert's -1: the message gives the setting, and then that for several labels."""
    x, y = [1, 1, 1, "1.0", "", 0, 1, 0], [0, "", 0, "-1.0", 1, 1, -1, -1]
    path = labelled_table(tmp_path, ["-"] * 8, x=x, y=y)
    one_hot = {"columns": {"label": ["x", "y"]}, "ignore": ["label"]}
    with pytest.raises(UserError, match=r"row 4 .*source\.uncertain=drop.*=0.*=1"):
        listed(path, combined="drop", **one_hot)
    if uncertain == 1:
        with pytest.raises(UserError, match=r"row 4 .*source\.combined=drop"):
            listed(path, uncertain=1, **one_hot)
    options = {"uncertain": uncertain, "combined": "drop", **one_hot}
    if uncertain == 0:  # the last row has no 1 then
        with pytest.raises(UserError, match=r"1 row of 8 of .* without a 1 in .* x, y, .* row 8: set"):
            listed(path, **options)
        assert listed(path, unmarked="none", **options).counts() == counts | {"none": 1}
        options["unmarked"] = "drop"
    listing = listed(path, **options)
    assert listing.counts() == counts and not listing.bad
    without = "1 row without a 1 in the one-hot columns left out"
    assert (without in listing.notes) == (uncertain == 0)


def test_empty_rows_of_one_hot_columns_are_left_out_where_rows_without_a_1_are(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["-"] * 4, x=[1, 0, "", 0], y=[0, 1, "", 0])
    one_hot = {"columns": {"label": ["x", "y"]}, "ignore": ["label"]}
    assert [bad.reason for bad in listed(path, unmarked="none", **one_hot).bad] == ["row 3: no label"]
    listing = listed(path, unmarked="drop", **one_hot)
    assert not listing.bad and "2 rows without a 1 in the one-hot columns left out" in listing.notes


def test_options_of_one_hot_columns_without_effect(tmp_path: Path) -> None:
    path = labelled_table(tmp_path, ["-"] * 3, x=[1, 0, ""], y=[0, 1, ""])
    for name, value in (("uncertain", 0), ("unmarked", "drop")):
        with pytest.raises(ValueError, match=f"{name}: {value} has no effect with one column of"):
            source("manifest", path=path, **{name: value})
    columns = {"label": ["x", "y"]}
    with pytest.raises(ValueError, match="unmarked: x is one of the one-hot columns"):
        source("manifest", path=path, columns=columns, unmarked="x")
    listing = listed(path, columns=columns, ignore=["label"])
    assert [one.reason for one in listing.bad] == ["row 3: no label"]
    path = labelled_table(tmp_path, ["-"] * 2, x=[1, 0], y=[0, 1], z=[0, 0])
    listing = listed(path, columns={"label": ["x", "y", "z"]}, ignore=["label"])
    assert "no row with a picture has the label z" in listing.notes


@pytest.mark.parametrize(("one", "zero"), [("x", ""), ("X", ""), ("yes", "no"), ("Y", "N"), ("\u2713", "-")])
def test_ticked_boxes_are_one_hot_columns(tmp_path: Path, one: str, zero: str) -> None:
    """As forms and spreadsheets have them: proposed, read, and a row without a tick is one without a 1."""
    marks = {name: [one if i % 3 == n else zero for i in range(12)] for n, name in enumerate(("cat", "cow", "dog"))}
    constant = {"sex": "F", "seen": one}  # no classes
    table = pd.DataFrame({"path": images(tmp_path, 12), **marks, **constant})
    table.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"try --set 'source\.columns\.label=\[cat, cow, dog\]'"):
        listed(tmp_path / "m.csv")
    columns = {"label": ["cat", "cow", "dog"]}
    assert listed(tmp_path / "m.csv", columns=columns).counts() == {"cat": 4, "cow": 4, "dog": 4}
    marks["dog"][2] = zero
    pd.DataFrame({"path": images(tmp_path, 12), **marks}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"1 row of 12 .* without a 1 .* is row 3: set source\.unmarked=drop"):
        listed(tmp_path / "m.csv", columns=columns)


def test_annotators_who_disagree_are_counted(tmp_path: Path) -> None:
    """Each picture twice: with one label it is one image, with two it is none, and the note says what to do."""
    paths = images(tmp_path, 12)
    first, second = ["a", "b"] * 6, ["b", "b"] + ["a", "b"] * 5
    rows = {"path": paths * 2, "label": first + second, "annotator": ["u"] * 12 + ["v"] * 12}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    listing = listed(tmp_path / "m.csv")
    assert len(listing) == 11 and len(listing.bad) == 2
    _, disagree, repeated = listing.notes
    assert disagree.startswith("1 picture of 12 not used, as rows have different labels: img/0.png has a, b; write one")
    assert repeated.startswith("11 rows repeated")


def test_labels_that_occur_only_together(tmp_path: Path) -> None:
    """No label has a row of its own; each is in two combinations, in other places."""
    path = labelled_table(tmp_path, ["A;B", "A;C", "B;C", "normal"])
    with pytest.raises(UserError, match=r"in 3 rows of 4, such as 'A;B': set source\.combined"):
        listed(path)
    path = labelled_table(tmp_path, ["A", "C", "A;B", "B;C"])
    with pytest.raises(UserError, match=r"in 2 rows of 4, such as 'A;B': set source\.combined"):
        listed(path)
    names = ["left, lung", "left, heart", "right, lung", "right, heart"]  # one class each
    assert set(listed(labelled_table(tmp_path, names)).classes) == set(names)
    synonyms = ["polecat, fitch", "skunk, polecat", "cougar, puma, catamount", "lynx, catamount"]
    assert set(listed(labelled_table(tmp_path, synonyms)).classes) == set(synonyms)


def test_labels_that_are_lists(tmp_path: Path) -> None:
    labels = ["bird", ["cat"], ["dog", "cat"], ["cat", "dog"], []]
    path = tmp_path / "m.jsonl"
    rows = [{"path": p, "label": c} for p, c in zip(images(tmp_path, 5), labels, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"in 2 rows of 5, such as '\[\"dog\", \"cat\"\]': set"):
        listed(path)
    assert listed(path, combined="drop").counts() == {"bird": 1, "cat": 1}
    listing = listed(path, combined="class")
    assert listing.counts() == {"bird": 1, "cat": 1, "cat|dog": 2}
    assert [bad.reason for bad in listing.bad] == ["row 5: no label"]
    text = labelled_table(tmp_path, ["['a', 'b']", "b", "['c']", "[other]"])  # as Python writes lists
    assert listed(text, combined="class").classes == ("[other]", "a|b", "b", "c")


def test_a_separator_in_a_name_is_no_second_label(tmp_path: Path) -> None:
    names = ["normal, benign", "malignant", "a;b", "x|y"]
    assert set(listed(labelled_table(tmp_path, names)).classes) == set(names)


# forms of files


def test_a_table_in_utf_16(tmp_path: Path) -> None:
    """As Excel saves "Unicode text": tabs, and a byte order mark."""
    images(tmp_path, 2)
    text = "path\tlabel\r\nimg/0.png\tgrün\r\nimg/1.png\tblå\r\n"
    for codec in ("utf-16", "utf-16-be"):
        mark = "\ufeff" if codec == "utf-16-be" else ""
        (tmp_path / "m.txt").write_bytes((mark + text).encode(codec))
        listing = listed(tmp_path / "m.txt")
        assert listing.classes == ("blå", "grün") and "m.txt is read as UTF-16" in listing.notes
    (tmp_path / "m.txt").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(UserError, match=r"has zero bytes: set source\.encoding, such as utf-16-le"):
        listed(tmp_path / "m.txt")
    assert listed(tmp_path / "m.txt", encoding="utf-16-le").classes == ("blå", "grün")


def test_a_table_in_another_encoding_is_not_guessed(tmp_path: Path) -> None:
    images(tmp_path, 2)
    path = tmp_path / "m.csv"
    path.write_bytes("path,label\nimg/0.png,dog\nimg/1.png,café\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"not UTF-8 \(byte 0xe9 in line 3\): save it as UTF-8, or set source"):
        listed(path)
    assert listed(path, encoding="cp1252").classes == ("café", "dog")
    with pytest.raises(UserError, match="is not ascii: "):
        listed(path, encoding="ascii")
    with pytest.raises(ValueError, match="unknown encoding 'latin-77'; use one of Python's"):
        source("manifest", path=path, encoding="latin-77")
    with pytest.raises(ValueError, match="unknown encoding 'base64'"):
        source("manifest", path=path, encoding="base64")


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
    assert str(caught.value).endswith("for each of at least 2 classes; it has none")
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": ' + "[" * 100_000, "line 2 of the manifest .* is nested too deeply"),
        ('{"path": "img/1.png", "label": "\\ud800"}', r"line 2 of .* has half a character, such as \\ud800"),
        ('{"path": "img/1.png", "label": ' + "9" * 5000 + "}", "line 2 of the manifest .* is not JSON"),
    ],
)
def test_lines_of_json_that_python_cannot_hold(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "img/0.png", "label": "a"}\n' + line + "\n")
    with pytest.raises(UserError, match=message) as caught:
        listed(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_one_number_in_two_spellings_of_json_is_one_group(tmp_path: Path) -> None:
    values = zip(images(tmp_path, 4), (1, 1.0, 0, 2), (12, 12.0, "12.0", 1.5), strict=True)
    rows = [json.dumps({"path": p, "label": c, "group": g}) for p, c, g in values]
    (tmp_path / "m.jsonl").write_text("\n".join(rows))
    listing = listed(tmp_path / "m.jsonl")
    assert listing.counts() == {"0": 1, "1": 2, "2": 1}
    assert listing.groups is not None and listing.groups.tolist() == ["12", "12", "12", "1.5"]


def test_separators_of_unicode_within_a_line_of_json(tmp_path: Path) -> None:
    rows = zip(images(tmp_path, 2), ("a\u2028b", "c\x85d"), strict=True)
    text = "\r\n".join(json.dumps({"path": p, "label": c}, ensure_ascii=False) for p, c in rows)
    (tmp_path / "m.jsonl").write_bytes(text.encode())
    assert listed(tmp_path / "m.jsonl").classes == ("a\u2028b", "c\x85d")


def test_a_text_whose_first_line_is_a_long_number(tmp_path: Path) -> None:
    """No count of rows, as CelebA's tables begin with; Python reads no number of so many digits."""
    (tmp_path / "m.txt").write_text("9" * 5000 + "\na b\n1 2\n")
    with pytest.raises(UserError, match="has no column 'path'"):
        listed(tmp_path / "m.txt")


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


def test_a_number_of_patients_is_no_column_of_paths(tmp_path: Path) -> None:
    """Files are numbered too, and only a column that names each of them once may be meant."""
    for i in range(8):
        save(tmp_path / f"{i:04d}.png", noise(i))
    rows = {"subject_no": [i // 2 for i in range(8)], "scan": range(8), "label": ["x", "y"] * 4}
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(UserError, match=r"try --set source\.columns\.path=scan"):
        listed(tmp_path / "m.csv")


def test_letters_with_marks_in_two_spellings_of_unicode(tmp_path: Path) -> None:
    """macOS writes é as two characters; the table has one."""
    save(tmp_path / "cafe\u0301.png", noise(0))
    (tmp_path / "m.csv").write_text("path,label\ncaf\u00e9.png,x\n", encoding="utf-8")
    assert listed(tmp_path / "m.csv").ids == ["cafe\u0301.png"]


FORMS = {"a.tab": "\t", "b.csv": "|", "c.txt": " ", "d.csv.gz": ",", "e.ndjson": ""}


@pytest.mark.parametrize("name", FORMS)
def test_other_forms_of_a_table(tmp_path: Path, name: str) -> None:
    rows = [(path, "xy"[i % 2]) for i, path in enumerate(images(tmp_path, 4))]
    text = "\n".join(FORMS[name].join(row) for row in [("path", "label"), *rows])
    if name.endswith("ndjson"):
        text = "\n".join(json.dumps({"path": path, "label": label}) for path, label in rows)
    packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(packed)
    assert sources.suggest(tmp_path / name) == {"kind": "manifest", "path": str(tmp_path / name)}
    assert listed(tmp_path / name).counts() == {"x": 2, "y": 2}
    if FORMS[name]:  # without its header
        text = text.partition("\n")[2]
        packed = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        (tmp_path / name).write_bytes(packed)
        assert listed(tmp_path / name).counts() == {"x": 2, "y": 2}
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(packed[:-9])
        with pytest.raises(UserError, match="cannot read the manifest"):
            listed(tmp_path / name)


def test_a_spreadsheet_and_a_mark_of_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "m.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"m\.xlsx is a spreadsheet: save it as CSV"):
        sources.suggest(tmp_path / "m.xlsx")
    path = labelled_table(tmp_path, ["x", "y"], **{"": [0, 1]})
    assert listed(path).notes[0].endswith(": a column without a name")  # pandas' index
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(UserError, match=r"mark of UTF-8, and source\.encoding is 'cp1252': leave"):
        listed(path, encoding="cp1252")
    assert listed(path, encoding="utf8").classes == ("x", "y")


def test_blank_lines_count_as_rows(tmp_path: Path) -> None:
    images(tmp_path, 2)
    (tmp_path / "m.csv").write_text("\n\npath,label\n\nimg/0.png,a\r\n\n\nno.png,b\nimg/1.png,b\n\n\n")
    listing = listed(tmp_path / "m.csv")
    assert listing.ids == ["img/0.png", "img/1.png"]
    assert [bad.reason for bad in listing.bad] == ["row 5: file does not exist"]
    assert listing.notes == ("3 empty rows of the table left out",)


@pytest.mark.parametrize("tab", ["\t", "\\t"])
def test_a_separator_line_with_a_tab(tmp_path: Path, tab: str) -> None:
    images(tmp_path, 2)
    (tmp_path / "m.csv").write_text(f"sep={tab}\npath\tlabel\nimg/0.png\ta,b\nimg/1.png\tc,d\n")
    assert listed(tmp_path / "m.csv").classes == ("a,b", "c,d")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('"a\nimg/1.png,b\nimg/2.png,"', r"row 2 of .* has a line break in its column 'label': 'a\\nimg"),
        ("x" * 20_000, r"row 2 of .* has 20,000 characters in its column 'label': 'x"),
        ("x" * 9_000_000, "a row of more than 4,194,304 bytes; perhaps a quote is not closed"),
    ],
)
def test_cells_of_a_quote_that_is_not_closed(tmp_path: Path, cell: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(f"path,label\nimg/0.png,a\nimg/1.png,{cell}\nimg/2.png,b\n")
    with pytest.raises(UserError, match=message) as caught:
        listed(tmp_path / "m.csv")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_cell_of_megabytes_that_is_not_used(tmp_path: Path) -> None:
    images(tmp_path, 2)
    text = f"path,label,notes\nimg/0.png,a,{'x' * 3_000_000}\nimg/1.png,b,\n"
    (tmp_path / "m.csv").write_text(text)
    assert listed(tmp_path / "m.csv").classes == ("a", "b")


GROUPS = """patient Lesion_ID MRN StudyInstanceUID SeriesInstanceUID patientunitid patientunitstayid PATIENT.ID pat_id ptid hadm_id
person_identifier tumor_id video sequence sequence_id burst_id meta.patient_id SampleID subject-number patient_id.1
id_patient num_patient img_patient Patient(anon) patient_hash exam_id wsi_name Patienten_Nr Patientennummer id_paciente id_personne
пациент ID_пациента 患者 病人ID 환자번호 paziente"""
NO_GROUPS = """sex age site view dataset label_id tumor path id laterality pattern patch sample session visit biopsy device_id
inpatient n_patients tumor_name stay meta.age num_patients exam image_id image_name возраст 年龄 del_id персона personalité"""


def test_names_of_groups() -> None:
    """Values that repeat in images of several classes are groups by their name alone."""
    values, labels = np.array([f"v{i // 4}" for i in range(80)], object), np.arange(80) % 2
    assert [name for name in GROUPS.split() if not like_groups(name, values, labels)] == []
    assert [name for name in NO_GROUPS.split() if like_groups(name, values, labels)] == []
    kinds = np.array(["T1", "T2", "FLAIR", "PD", "DWI"] * 16, object)  # of a scanner
    assert not like_groups("sequence", kinds, labels) and like_groups("video", kinds, labels)


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
