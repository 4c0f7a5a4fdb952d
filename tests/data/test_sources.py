"""Every kind of source, on real files of its kind."""

from __future__ import annotations

import gzip
import io
import json
import shlex
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pictures import came, folders, noise, save, source, why
from PIL import Image
from sklearn.datasets import load_digits

from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.core.registry import load_kind
from augpipe.data import sources
from augpipe.data.sources import torchvision
from augpipe.pipeline.experiment import build


def untouched(root: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in root.rglob("*"))


# bundled


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    taken = came("bundled", tmp_path, ImageOptions(size=8))
    bunch = load_digits()
    assert taken.image_set().images.shape == (1797, 1, 8, 8)
    assert np.array_equal(taken.labels, bunch.target)
    assert np.array_equal(taken.images[:, 0], np.round(bunch.images * 255 / 16).astype(np.uint8))
    assert taken.listing.classes == tuple("0123456789")


# folder


def test_a_folder_comes_in_as_it_lies(tmp_path: Path, make_shapes, make_folder) -> None:
    images = make_shapes((4, 3), channels=3)
    root = make_folder(tmp_path / "pics", images)
    before = untouched(root)
    back = came("folder", tmp_path, path=root).image_set()
    assert np.array_equal(back.images, images.images) and back.classes == images.classes
    assert back.table["id"].tolist()[0] == "c0/0000.png"
    assert isinstance(back.images, np.memmap)
    assert untouched(root) == before


def test_train_val_test_folders_are_the_split(tmp_path: Path) -> None:
    for side, n in (("Train", 6), ("valid", 3), ("test", 4)):
        folders(tmp_path / "pics" / side, n)
    listed = sources.listing(source("folder", path=tmp_path / "pics"))
    assert listed.classes == ("a", "b") and listed.splits is not None
    assert dict(pd.Series(listed.splits).value_counts()) == {"train": 12, "test": 8, "val": 6}
    assert any("used as the split" in note for note in listed.notes)
    as_classes = source("folder", path=tmp_path / "pics", layout="{label}/**/*")
    assert sources.listing(as_classes).classes == ("Train", "test", "valid")


def test_classes_called_train_and_trousers_are_classes(tmp_path: Path) -> None:
    folders(tmp_path, 3, ("train", "trousers"))
    listed = sources.listing(source("folder", path=tmp_path))
    assert listed.splits is None and listed.classes == ("train", "trousers")


def test_pictures_in_deeper_folders_are_not_lost(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        folders(tmp_path, 2, (f"ill/{patient}", f"well/{patient}"))
    listed = sources.listing(source("folder", path=tmp_path))
    assert listed.counts() == {"ill": 4, "well": 4} and listed.groups is None
    (note,) = listed.notes
    assert note == (
        "every class has the sub-folders p1, p2; set layout: '*/{label}/**/*' if these are the classes, "
        "'{group}/{label}/**/*' if the folders above them are patients, or '{label}/{group}/*' if each is a patient or a person"
    )
    save(tmp_path / "ill" / "p3" / "0.png", noise(50))
    (note,) = sources.listing(source("folder", path=tmp_path)).notes
    assert "layout: '{label}/{group}/*'" in note
    (tmp_path / "ill" / "p3" / "0.png").unlink()
    by_patient = sources.listing(source("folder", path=tmp_path, layout="{label}/{group}/*"))
    assert sorted(set(by_patient.groups)) == ["p1", "p2"]


def test_a_layout_reads_fields_out_of_names(tmp_path: Path) -> None:
    for i, name in enumerate(("007_cat_train", "007_dog_train", "008_cat_test")):
        save(tmp_path / f"{name}.png", noise(i))
    save(tmp_path / "odd.png", noise(9))
    listed = sources.listing(source("folder", path=tmp_path, layout="{group}_{label}_{split}.png"))
    assert listed.classes == ("cat", "dog")
    assert listed.groups.tolist() == ["007", "007", "008"]
    assert listed.splits.tolist() == ["train", "train", "test"]
    assert [one.id for one in listed.bad] == ["odd.png"]


def test_a_layout_that_fits_in_several_ways_is_refused(tmp_path: Path) -> None:
    """Two breeds of dogs would become one class."""
    for i, name in enumerate(("american_bulldog_1", "american_pit_2", "beagle_3", "beagle_4")):
        save(tmp_path / "images" / f"{name}.png", noise(i))
    with pytest.raises(UserError) as told:
        sources.listing(source("folder", path=tmp_path, layout="images/{label}_*.png"))
    assert "{label} may be 'american' or 'american_bulldog'" in str(told.value)
    assert "write {label-} for the shortest or {label+} for the longest" in str(told.value)
    for field, classes in (
        ("{label+}", ("american_bulldog", "american_pit", "beagle")),
        ("{label-}", ("american", "beagle")),
    ):
        layout = f"images/{field}_*.png"
        assert sources.listing(source("folder", path=tmp_path, layout=layout)).classes == classes


@pytest.mark.parametrize(
    ("layout", "told"), [("{group}/*", "has no {label}"), ("{label}/{person}/*", "unknown field {person}")]
)
def test_layouts_that_are_none(layout: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        source("folder", path="x", layout=layout)


def test_a_split_with_a_name_of_its_own_is_told(tmp_path: Path) -> None:
    folders(tmp_path / "holdout", 1)
    with pytest.raises(UserError, match=r"unknown split 'holdout' in .*; choose from train, training, val"):
        sources.listing(source("folder", path=tmp_path, layout="{split}/{label}/*"))


def test_only_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    folders(tmp_path, 2, ("a", "b", "c"))
    listed = sources.listing(source("folder", path=tmp_path, classes=("c", "a")))
    assert listed.classes == ("c", "a") and listed.labels.tolist() == [1, 1, 0, 0]
    assert listed.notes == ("2 pictures of other classes left out",)
    with pytest.raises(UserError, match=r"unknown class in source\.classes of the folder .* 'd'; choose from a, b, c"):
        sources.listing(source("folder", path=tmp_path, classes=("a", "d")))
    with pytest.raises(ValueError, match="duplicate class 'a'"):
        source("folder", path=tmp_path, classes=("a", "a"))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_folders_of_the_system_are_left_alone(tmp_path: Path, packed: bool) -> None:
    root = folders(tmp_path / "pics", 3)
    for name in ("__MACOSX/a", ".ipynb_checkpoints", "@eaDir", "a/@eaDir", "$RECYCLE.BIN/c"):
        save(root / name / "copy.png", noise(7))
    listed = listed_as(root, packed)
    assert listed.counts() == {"a": 3, "b": 3} and not listed.bad
    assert sum(listed.ignored.values()) == 5 if packed else {"__MACOSX", "@eaDir"} < set(listed.ignored)


def listed_as(root: Path, packed: bool, **options: object) -> sources.Listing:
    """A folder's pictures, or those of a zip of it."""
    if not packed:
        return sources.listing(source("folder", path=root, **options))
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted([*root.rglob("*.png"), *root.glob("*.csv")]):
            archive.write(path, path.relative_to(root))
    return sources.listing(source("archive", path=root.with_suffix(".zip"), **options))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("top", ["data", "data/train", "train"])
def test_folders_around_all_class_folders_are_none(tmp_path: Path, top: str, packed: bool) -> None:
    root = tmp_path / "pics"
    folders(root / top, 3)
    listed = listed_as(root, packed)
    assert listed.counts() == {"a": 3, "b": 3} and listed.splits is None
    assert packed or any(f"read from {top}, the only folder" in note for note in listed.notes)
    assert (not packed and len(came("folder", tmp_path, path=root).images) == 6) or packed


def test_an_empty_class_folder_is_not_passed_by(tmp_path: Path) -> None:
    """One folder with pictures beside one without: two classes, and the run says that the second has no picture."""
    folders(tmp_path / "pics" / "a", 2, ("p1", "p2"))
    (tmp_path / "pics" / "b").mkdir()
    assert sources.listing(source("folder", path=tmp_path / "pics")).counts() == {"a": 4, "b": 0}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_set_that_holds_itself_once_more(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / "pics"
    for top in (root, root / "chest_xray"):
        for side in ("train", "val", "test"):
            folders(top / side, 2)
    listed = listed_as(root, packed)
    assert listed.counts() == {"a": 6, "b": 6} and set(listed.splits) == {"train", "val", "test"}
    assert any("chest_xray contains the same files again" in note for note in listed.notes)
    other = root / "chest_xray" / "train" / "a" / "000.png"
    save(other, noise(77))  # of the same name, and another picture
    with pytest.raises(UserError, match="both train and test folders and chest_xray"):
        listed_as(root, packed)
    save(other.with_name("more.png"), noise(5))
    with pytest.raises(UserError, match="both train and test folders and chest_xray"):
        listed_as(root, packed)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_pictures_that_are_left_out(tmp_path: Path, packed: bool) -> None:
    root = folders(tmp_path / "pics", 3, ("a", "b", "unlabelled/x"))
    save(root / "a" / "000_mask.png", noise(5))
    listed = listed_as(root, packed, exclude=["*_mask.png", "unlabelled/*"])
    assert listed.counts() == {"a": 3, "b": 3} and not listed.bad
    assert "4 pictures left out by source.exclude" in listed.notes
    listed = listed_as(root, packed, include=["a/*", "b/*"], exclude="*_mask.png")
    assert listed.counts() == {"a": 3, "b": 3} and not listed.bad
    assert {"3 pictures left out by source.include", "1 picture left out by source.exclude"} <= set(listed.notes)
    for option in ("include", "exclude"):
        with pytest.raises(UserError, match=rf"source.{option} '\*.tif' matches no picture of the"):
            listed_as(root, packed, **{option: ["*.tif"]})


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_masks_beside_pictures_are_noted(tmp_path: Path, packed: bool) -> None:
    """As in BUSI; a picture whose name only ends like one is none."""
    root = folders(tmp_path / "pics", 2)
    for name in ("a/000_mask", "a/000_mask_1", "b/001_MASK", "b/gas_mask"):
        save(root / f"{name}.png", noise(len(name)))
    (note,) = listed_as(root, packed).notes
    assert note.startswith("3 pictures by name the mask of another, such as a/000_mask.png,")
    option = shlex.split(note)[-1]  # as the shell and the command read it
    assert yaml.safe_load(option.removeprefix("source.exclude=")) == ["*_mask*"]
    assert not listed_as(folders(tmp_path / "others", 2, ("gt", "mask")), packed).notes


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        sources.listing(source("folder", path=tmp_path / "no"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        sources.listing(source("folder", path=tmp_path / "file"))
    with pytest.raises(UserError, match=r"at least 2 classes; it has none"):
        sources.listing(source("folder", path=tmp_path))


# manifest


def table(root: Path, rows: list[dict[str, object]], name: str = "m.csv") -> Path:
    frame = pd.DataFrame(rows)
    path = root / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def rows_of(root: Path, n: int = 24) -> list[dict[str, object]]:
    rows = []
    for i in range(n):
        save(root / "img" / f"{i}.png", noise(i))
        rows.append({"path": f"img/{i}.png", "label": ("cat", "dog")[i % 2]})
    return rows


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.parquet"])
def test_a_manifest_says_class_group_split_and_weight(tmp_path: Path, name: str) -> None:
    rows = rows_of(tmp_path)
    for i, row in enumerate(rows):
        row |= {"group": f"p{i // 4}", "split": ("train", "validation", "test")[i % 3], "weight": 1 + i}
    path = table(tmp_path, rows, name)
    if name == "m.tsv":
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t")
    taken = came("manifest", tmp_path, path=path)
    made = taken.image_set()
    assert made.classes == ("cat", "dog") and len(made) == 24 and not taken.bad
    assert made.table["group"].tolist() == [f"p{i // 4}" for i in range(24)]
    assert made.table["weight"].tolist() == [1.0 + i for i in range(24)]
    assert taken.splits.tolist()[:3] == ["train", "val", "test"]
    assert np.array_equal(made.images[5, 0], noise(5))


def test_a_manifest_with_its_own_columns_and_root(tmp_path: Path) -> None:
    frame = pd.DataFrame(rows_of(tmp_path)).rename(columns={"path": "file", "label": "finding"})
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "m.csv"
    frame.to_csv(path, index=False)
    columns = {"path": "file", "label": "finding"}
    listed = sources.listing(source("manifest", path=path, root=tmp_path, columns=columns))
    assert listed.counts() == {"cat": 12, "dog": 12}
    with pytest.raises(UserError, match=r"has no column 'path'; it has file, finding"):
        sources.listing(source("manifest", path=path))


@pytest.mark.parametrize("key", ["group", "split", "weight"])
def test_a_column_that_is_set_and_not_there(tmp_path: Path, key: str) -> None:
    """Without a word the set would be split with patients on both sides."""
    rows = [row | {"lesion_id": f"l{i // 2}"} for i, row in enumerate(rows_of(tmp_path))]
    path = table(tmp_path, rows, "m.csv")
    with pytest.raises(
        UserError, match=rf"no column 'lesionid' \(did you mean 'lesion_id'\?\); .*source.columns.{key}"
    ):
        sources.listing(source("manifest", path=path, columns={key: "lesionid"}))
    listed = sources.listing(source("manifest", path=path, columns={"group": "lesion_id"}))
    assert listed.groups is not None and len(set(listed.groups)) == 12


@pytest.mark.parametrize("name", ["patient", "Lesion_ID", "subject id", "who"])
def test_a_column_of_patients_that_is_not_used_is_refused(tmp_path: Path, name: str) -> None:
    """By its name, or, whatever its name, by values that two images of a class share."""
    rows = [row | {name: f"p{i // 4 * 2 + i % 2}"} for i, row in enumerate(rows_of(tmp_path))]
    path = table(tmp_path, rows, "m.csv")
    with pytest.raises(UserError, match=f"has the column {name!r}, which looks like groups") as told:
        sources.listing(source("manifest", path=path))
    assert f"source.columns.group={name}" in str(told.value)
    listed = sources.listing(source("manifest", path=path, ignore=[name]))
    assert listed.groups is None and len(listed) == 24
    by_group = sources.listing(source("manifest", path=path, columns={"group": name}))
    assert len(set(by_group.groups)) == 12 and not by_group.notes
    with pytest.raises(UserError, match=r"unknown column in source\.ignore 'nose'"):
        sources.listing(source("manifest", path=path, ignore=["nose"]))


def test_groups_are_seen_also_where_some_have_none(tmp_path: Path) -> None:
    rows = [row | {"who": f"p{i // 4 * 2 + i % 2}" if i % 5 else ""} for i, row in enumerate(rows_of(tmp_path, 60))]
    with pytest.raises(UserError, match="has the column 'who', which looks like groups"):
        sources.listing(source("manifest", path=table(tmp_path, rows, "m.csv")))


@pytest.mark.parametrize(
    "columns", [{"animal": ("Katze", "Hund")}, {"eye": ("L", "R", "R")}, {"subject": ("a", "b", "b")}]
)
def test_a_second_name_of_the_class_or_a_side_is_no_group(tmp_path: Path, columns: dict) -> None:
    rows = [
        row | {name: values[i % len(values)] for name, values in columns.items()}
        for i, row in enumerate(rows_of(tmp_path))
    ]
    assert len(sources.listing(source("manifest", path=table(tmp_path, rows, "m.csv")))) == 24


def test_columns_of_other_things_are_listed_and_no_more(tmp_path: Path) -> None:
    """Ages and places are shared by images of both classes; a number of its own for each image is no group."""
    rng = np.random.default_rng(0)
    rows = [
        row | {"age": int(rng.integers(20, 30)), "image_id": f"ISIC_{i}", "patient": f"p{i}"}
        for i, row in enumerate(rows_of(tmp_path, 40))
    ]
    listed = sources.listing(source("manifest", path=table(tmp_path, rows, "m.csv")))
    (note,) = listed.notes
    assert note.startswith("not used of the manifest") and note.endswith("age, image_id, patient")


def ham(tmp_path: Path, n: int = 40) -> Path:
    """As HAM10000 comes: pictures in two folders, a table that names them without folder and suffix."""
    rows = []
    for i in range(n):
        name = f"ISIC_{i:07d}"
        save(tmp_path / f"HAM10000_images_part_{1 + 2 * i // n}" / f"{name}.jpg", noise(i))
        rows.append({"lesion_id": f"HAM_{i // 2}", "image_id": name, "dx": ("nv", "nv", "mel")[i % 3]})
    return table(tmp_path, rows, "HAM10000_metadata.csv")


def test_a_table_that_names_pictures_without_folder_and_suffix(tmp_path: Path) -> None:
    path = ham(tmp_path)
    with pytest.raises(UserError) as told:
        sources.listing(source("manifest", path=path))
    assert str(told.value).endswith(
        "try --set source.columns.path=image_id --set source.columns.label=dx --set source.columns.group=lesion_id"
    )
    columns = {"path": "image_id", "label": "dx"}
    with pytest.raises(UserError, match=r"source\.columns\.group=lesion_id"):
        sources.listing(source("manifest", path=path, columns=columns))
    columns["group"] = "lesion_id"
    listed = sources.listing(source("manifest", path=path, columns=columns))
    assert not listed.bad and listed.ids[0] == "HAM10000_images_part_1/ISIC_0000000.jpg"
    assert listed.ids[-1] == "HAM10000_images_part_2/ISIC_0000039.jpg"
    assert len(set(listed.groups)) == 20
    assert listed.notes[0].startswith("40 paths of the table completed: ISIC_0000000 is HAM10000")
    # A template of columns says the same without a search.
    columns["path"] = "HAM10000_images_part_1/{image_id}.jpg"
    first = sources.listing(source("manifest", path=path, columns=columns))
    assert len(first) == 20 and len(first.bad) == 20


def test_parts_of_a_download_are_no_classes(tmp_path: Path) -> None:
    path = ham(tmp_path)
    with pytest.raises(UserError) as told:
        sources.listing(source("folder", path=tmp_path))
    assert (
        f"(augpipe run {path} --set source.columns.path=image_id --set source.columns.label=dx "
        "--set source.columns.group=lesion_id)" in str(told.value)
    )
    assert "set source.layout='{label}/**/*' if the folders (HAM10000_images_part_1" in str(told.value)
    listed = sources.listing(source("folder", path=tmp_path, layout="{label}/**/*"))
    assert listed.classes == ("HAM10000_images_part_1", "HAM10000_images_part_2")


def test_a_table_that_says_what_the_folders_say_is_no_matter(tmp_path: Path) -> None:
    """Nor is one of other things, or one that cannot be read."""
    folders(tmp_path, 6)
    rows = [{"file": f"{c}/{i:03d}.png", "species": c, "size": i} for c in "ab" for i in range(6)]
    table(tmp_path, rows, "labels.csv")
    table(tmp_path, [{"x": 1}], "other.csv")
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe\0")
    assert sources.listing(source("folder", path=tmp_path)).counts() == {"a": 6, "b": 6}


@pytest.mark.parametrize("labels", [{"label": (0, 1)}, {"width": (7, 9, 8), "author": ("x", "y", "z")}])
def test_tables_that_do_not_contradict_the_folders(tmp_path: Path, labels: dict) -> None:
    """Numbers in place of the folders' names, or nothing that could be a label."""
    folders(tmp_path, 6, ("cat", "dog"))
    files = [f"{c}/{i:03d}.png" for c in ("cat", "dog") for i in range(6)]
    frame = {"file": files} | {
        name: [values[i // 6 if len(values) == 2 else i % 3] for i in range(12)] for name, values in labels.items()
    }
    pd.DataFrame(frame).to_csv(tmp_path / "labels.csv", index=False)
    assert sources.listing(source("folder", path=tmp_path)).counts() == {"cat": 6, "dog": 6}


@pytest.mark.parametrize("form", ["one-hot", "constant"])
def test_a_table_beside_one_folder_of_pictures(tmp_path: Path, form: str) -> None:
    """As ISIC 2019 and the NIH's chest X-rays are published; what the message proposes is read."""
    names = [f"ISIC_{i:07d}" for i in range(24)]
    for i, name in enumerate(names):
        save(tmp_path / "Training_Input" / f"{name}.png", noise(i))
    more = {"MEL": 0, "BC C": 1, "NV": 2} if form == "one-hot" else {"Follow-up": 0}
    columns = {k: [float(i % 3 == v) for i in range(24)] for k, v in more.items()}
    if form == "constant":
        columns = {"Follow-up": ["no"] * 24, "Finding Labels": ["Hernia", "Mass"] * 12}
    pd.DataFrame({"image": names, **columns}).to_csv(tmp_path / "GroundTruth.csv", index=False)
    # Of a test without labels, as Kaggle publishes it; its name comes first.
    pd.DataFrame({"image": names[:2]}).to_csv(tmp_path / "A_test.csv", index=False)
    pd.DataFrame({"image": names[:2], "size": [1, 2]}).to_csv(tmp_path / "B.csv", index=False)
    # A form for predictions.
    pd.DataFrame({"image": names[:6], "label": 0}).to_csv(tmp_path / "A_submission.csv", index=False)
    with pytest.raises(UserError, match=r"the table .*GroundTruth\.csv names the pictures") as caught:
        sources.listing(source("folder", path=tmp_path))
    command = str(caught.value).partition("use the table (")[2]
    path, *sets = shlex.split(command[: command.index("), or")].removeprefix("augpipe run "))
    values = {"name": "x", "source": sources.suggest(Path(path)), "arms": [{"name": "a"}], "baseline": "a"}
    listing = sources.listing(build(values, [one for one in sets if one != "--set"]).source)
    assert sorted(listing.classes) == (["BC C", "MEL", "NV"] if form == "one-hot" else ["Hernia", "Mass"])


def test_a_table_that_names_one_folder_as_the_class_agrees_with_it(tmp_path: Path) -> None:
    """As `augpipe generate` writes images of a single class."""
    for i in range(6):
        save(tmp_path / "cat" / f"{i}.png", noise(i))
    rows = {"file": [f"cat/{i}.png" for i in range(6)], "class": "cat", "seed": 0}
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    assert sources.listing(source("folder", path=tmp_path)).counts() == {"cat": 6}


@pytest.mark.parametrize("packed", [False, True])
def test_groups_in_a_table_beside_class_folders_are_not_passed_over(tmp_path: Path, packed: bool) -> None:
    """The labels agree with the folders; the patients are only in the table."""
    root = folders(tmp_path / "pics", 12)
    files = [f"{c}/{i:03d}.png" for c in "ab" for i in range(12)]
    rows = {"file": files, "label": [f[0] for f in files], "age": range(24)}
    pd.DataFrame(rows).to_csv(root / "meta.csv", index=False)
    assert listed_as(root, packed).counts() == {"a": 12, "b": 12}
    rows["patient"] = [i // 4 for i in range(24)]
    pd.DataFrame(rows).to_csv(root / "meta.csv", index=False)
    with pytest.raises(UserError, match=r"'patient' looks like groups.*columns\.group=patient\)"):
        listed_as(root, packed)
    del rows["label"]
    pd.DataFrame(rows).to_csv(root / "meta.csv", index=False)
    with pytest.raises(UserError, match=r"'patient' looks like groups.*no labels: write the names"):
        listed_as(root, packed)
    assert len(listed_as(root, packed, layout="{label}/**/*")) == 24


def test_a_table_above_the_folders_counts_too(tmp_path: Path) -> None:
    rows = []
    for i in range(20):
        save(tmp_path / "images" / f"part_{1 + i // 10}" / f"{i}.png", noise(i))
        rows.append({"image": f"{i}.png", "Image Class": i % 2, "dx": ("nv", "mel")[i % 2]})
    table(tmp_path, rows, "metadata.csv")
    with pytest.raises(UserError, match=r"--set source\.columns\.path=image --set source\.columns\.label="):
        sources.listing(source("folder", path=tmp_path))


@pytest.mark.parametrize("name", ["metadata.csv", "dataset.json"])
def test_shards_with_a_file_of_labels_are_no_classes(tmp_path: Path, name: str) -> None:
    """As image-folder tools and StyleGAN's write them."""
    folders(tmp_path, 4, ("00000", "00001"))
    files = [f"{c}/{i:03d}.png" for c in ("00000", "00001") for i in range(4)]
    if name.endswith("csv"):
        pd.DataFrame({"file_name": files, "label": [0, 1] * 4}).to_csv(tmp_path / name, index=False)
    else:
        (tmp_path / name).write_text(json.dumps({"labels": [[f, i % 2] for i, f in enumerate(files)]}))
    with pytest.raises(UserError, match=r"use the table|has labels of the pictures"):
        sources.listing(source("folder", path=tmp_path))


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("A.PNG", "x/a.png"),
        ("x\\a.png", "x/a.png"),
        ("data/x/a.png", "x/a.png"),
        ("pics/data/x/a.png", "x/a.png"),
        ("gro\u0308\u00dfe", "gr\u00f6\u00dfe.png"),
        ("a", "deep/down/a.tiff"),
    ],
)
def test_paths_that_only_one_picture_fits(tmp_path: Path, written: str, file: str) -> None:
    root = tmp_path / "pics" / "data"
    save(root / file, noise(0))
    save(root / "other" / "b.png", noise(1))
    text = f"path,label\n{written},x\nother/b.png,y\n"
    (root / "m.csv").write_text(text, encoding="utf-8")
    listed = sources.listing(source("manifest", path=root / "m.csv"))
    assert listed.ids == [file, "other/b.png"] and not listed.bad


def test_a_path_is_never_completed_to_another_picture(tmp_path: Path) -> None:
    """Of a folder with another name, or where two would fit; nor of another part of the set with the same numbers."""
    for path in ("a/001.png", "b/002.png", "c/002.png", "d/003.png"):
        save(tmp_path / path, noise(len(path)))
    (tmp_path / "m.csv").write_text(
        "path,label\nx/001.png,x\n002.png,x\n003.jpg,x\na/001.png,y\nd/003.png,x\nimages_2/a/001.png,x\n"
    )
    listed = sources.listing(source("manifest", path=tmp_path / "m.csv"))
    assert listed.ids == ["a/001.png", "d/003.png"]
    assert [one.reason for one in listed.bad] == [
        "row 1: file does not exist",
        "row 2: 2 files of this name: b/002.png, c/002.png",
        "row 3: file does not exist",
        "row 6: file does not exist",
    ]


def test_a_table_with_a_column_for_each_class(tmp_path: Path) -> None:
    rows = [
        {"path": row["path"], "MEL": float(i % 3 == 0), "NV": float(i % 3 == 1), "BCC": float(i % 3 == 2)}
        for i, row in enumerate(rows_of(tmp_path, 12))
    ]
    columns = {"label": ["MEL", "NV", "BCC"]}
    listed = sources.listing(source("manifest", path=table(tmp_path, rows, "m.csv"), columns=columns))
    assert listed.counts() == {"BCC": 4, "MEL": 4, "NV": 4}
    assert [listed.classes[label] for label in listed.labels[:3]] == ["MEL", "NV", "BCC"]
    frame = pd.DataFrame(rows)
    frame[["MEL", "NV", "BCC"]] = frame[["MEL", "NV", "BCC"]] == 1  # as pandas makes them
    frame.to_csv(tmp_path / "b.csv", index=False)
    booleans = sources.listing(source("manifest", path=tmp_path / "b.csv", columns=columns))
    assert booleans.labels.tolist() == listed.labels.tolist()
    (tmp_path / "c.csv").write_text("path,MEL,NV,BCC\nimg/0.png,1,maybe,0\n")
    with pytest.raises(UserError, match=r"row 1 of .*'maybe'"):
        sources.listing(source("manifest", path=tmp_path / "c.csv", columns=columns))
    rows[5]["MEL"] = 1.0
    path = table(tmp_path, rows, "m.csv")
    with pytest.raises(UserError, match=r"row 6 of .* has the labels .*Several labels .* set source\.combined=drop"):
        sources.listing(source("manifest", path=path, columns=columns))
    single = sources.listing(source("manifest", path=path, columns=columns, combined="drop"))
    assert single.counts() == {"BCC": 3, "MEL": 4, "NV": 4} and not single.bad
    assert single.notes == ("1 row with several labels left out",)
    each = sources.listing(source("manifest", path=path, columns=columns, combined="class"))
    assert each.counts() == {"BCC": 3, "MEL": 4, "MEL|BCC": 1, "NV": 4}


def test_spaces_around_a_path_are_none_of_it(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 4)
    save(tmp_path / "img" / " odd.png", noise(9))
    text = "path,label\n" + "".join(f" {r['path']} ,{r['label']}\n" for r in rows)
    (tmp_path / "m.csv").write_text(text + "img/ odd.png,cat\n")
    listed = sources.listing(source("manifest", path=tmp_path / "m.csv"))
    assert listed.ids == [*(str(row["path"]) for row in rows), "img/ odd.png"] and not listed.bad


def test_labels_stay_what_they_are(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 4)
    for row, label in zip(rows, ("01", "NA", "true", "null"), strict=True):
        row["label"] = label
    path = tmp_path / "m.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    images = sources.listing(source("manifest", path=path))
    assert images.classes == ("01", "NA", "null", "true")
    assert [note.split("'")[1] for note in images.notes if "missing value" in note] == ["NA", "null"]
    numbers = pd.DataFrame({"path": [r["path"] for r in rows], "label": [1, 0, None, 1]})
    numbers.to_parquet(tmp_path / "n.parquet")  # pandas makes floats of numbers with a gap
    listed = sources.listing(source("manifest", path=tmp_path / "n.parquet"))
    assert listed.classes == ("0", "1") and [b.reason for b in listed.bad] == ["row 3: no label"]


@pytest.mark.parametrize(
    "text",
    [
        "path;label\nimg/0.png;cat\nimg/1.png;dog\n",
        "path, label\nimg/0.png, cat\nimg/1.png, dog \n",
        '\ufeffpath,label\r\n"img/0.png","cat"\r\nimg/1.png,dog\r\n',
        "path\tlabel\nimg/0.png\tcat\nimg/1.png\tdog\n",
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    rows_of(tmp_path, 2)
    (tmp_path / "m.csv").write_text(text, newline="")
    listed = sources.listing(source("manifest", path=tmp_path / "m.csv"))
    assert listed.classes == ("cat", "dog") and listed.ids == ["img/0.png", "img/1.png"]


# arrays


def test_an_npz_in_medmnists_form(tmp_path: Path) -> None:
    parts = {}
    for at, (side, n) in enumerate((("train", 20), ("val", 6), ("test", 8))):
        parts[f"{side}_images"] = noise(at, n, 12, 12, 3)
        parts[f"{side}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
    np.savez_compressed(tmp_path / "x.npz", **parts)
    taken = came("arrays", tmp_path, ImageOptions(size=12), path=tmp_path / "x.npz", names=("no", "yes"))
    assert taken.listing.classes == ("no", "yes") and taken.images.shape == (34, 3, 12, 12)
    assert np.array_equal(taken.images[26], parts["test_images"][0].transpose(2, 0, 1))
    assert taken.splits.tolist() == ["train"] * 20 + ["val"] * 6 + ["test"] * 8
    mine = source("arrays", path=tmp_path / "x.npz", official=False)
    assert sources.listing(mine).splits is None


KERAS = ("x_train", "y_train", "x_test", "y_test")


@pytest.mark.parametrize(
    "names",
    [("x", "y"), ("X", "y"), ("data", "target"), KERAS, ("X_train", "y_train", "X_test", "y_test")],
    ids=" ".join,
)
def test_names_of_arrays_that_others_use(tmp_path: Path, names: tuple[str, ...]) -> None:
    images, labels = noise(0, 12, 8, 8), np.arange(12) % 3
    parts = np.split(np.arange(12), [8]) if len(names) == 4 else [np.arange(12)]
    values = [value for rows in parts for value in (images[rows], labels[rows].astype(float))]
    np.savez(tmp_path / "a.npz", **dict(zip(names, values, strict=True)))
    taken = came("arrays", tmp_path, ImageOptions(size=8), path=tmp_path / "a.npz")
    assert np.array_equal(taken.images[:, 0], images) and taken.labels.tolist() == labels.tolist()
    expected = ["train"] * 8 + ["test"] * 4 if len(names) == 4 else None
    assert (None if taken.splits is None else taken.splits.tolist()) == expected


def test_one_hot_labels_are_classes(tmp_path: Path) -> None:
    labels = np.arange(9) % 3
    hot = np.eye(3)[labels]
    np.savez(tmp_path / "a.npz", images=noise(0, 9, 8, 8), labels=hot, class_names=["x", "y", "z"])
    listed = sources.listing(source("arrays", path=tmp_path / "a.npz"))
    assert listed.labels.tolist() == labels.tolist() and listed.classes == ("x", "y", "z")
    hot[4, 0] = hot[4, 1] = 1
    np.savez(tmp_path / "b.npz", images=noise(0, 9, 8, 8), labels=hot)
    with pytest.raises(
        UserError, match=r"row 4 is not a single 1 among 0: \[1.0, 1.0, 0.0\]. Several labels per image"
    ):
        sources.listing(source("arrays", path=tmp_path / "b.npz"))
    hot[4] = hot[7] = 0
    np.savez(tmp_path / "b.npz", images=noise(0, 9, 8, 8), labels=hot)
    with pytest.raises(UserError, match=r"read as one-hot: 2 rows without a 1, the first is row 4"):
        sources.listing(source("arrays", path=tmp_path / "b.npz"))


@pytest.mark.parametrize("split", [False, True, "one"])
def test_an_array_of_patients_under_another_name_is_not_passed_by(tmp_path: Path, split: bool | str) -> None:
    values = {"images": noise(0, 24, 8, 8), "labels": np.arange(24) % 2, "patient": np.arange(24) // 2}
    if split:
        halves = {"train": np.arange(16), "test": np.arange(16, 24)}
        values = {f"{s}_{k}": v[rows] for s, rows in halves.items() for k, v in values.items()}
    if split == "one":
        del values["test_patient"]
    path = tmp_path / "a.npz"
    np.savez(path, **values, remark="made by hand")
    with pytest.raises(UserError, match=r"array 'patient', which looks like groups.*source.groups=patient"):
        sources.listing(source("arrays", path=path))
    if split == "one":
        with pytest.raises(UserError, match=r"has train_patient but not test_patient: give every"):
            sources.listing(source("arrays", path=path, groups="patient"))
    else:
        listed = sources.listing(source("arrays", path=path, groups="patient"))
        assert len(set(listed.groups)) == 12
    ignored = sources.listing(source("arrays", path=path, ignore=["patient"]))
    assert ignored.groups is None
    assert any(note.endswith(": remark") for note in ignored.notes)
    with pytest.raises(UserError, match=r"unknown array in source.groups of .*'.*patent' \(did you mean"):
        sources.listing(source("arrays", path=path, groups="patent"))


def test_what_else_is_in_a_file_of_arrays_is_no_matter(tmp_path: Path) -> None:
    """Structured and other arrays, a text, coordinates called x and y, names that do not fit."""
    path, labels = tmp_path / "a.npz", np.array(["a", "b"] * 4)
    np.savez(
        path,
        images=noise(0, 8, 8, 8),
        labels=labels,
        x=np.arange(8.0),
        y=np.arange(8.0),
        meta=np.zeros(8, [("age", "i4")]),
        raw=np.array([b"\xff"] * 8),
        volumes=np.zeros((8, 3, 3)),
        class_names=np.array(["a", "b"]),
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "x")
    listed = sources.listing(source("arrays", path=path))
    assert listed.classes == ("a", "b") and len(listed) == 8
    assert any("class_names" in note and "not used" in note for note in listed.notes)
    np.savez(path, images=noise(0, 8, 8, 8), labels=np.arange(8) % 2 + 1, class_names=np.array(["a", "b"]))
    assert sources.listing(source("arrays", path=path)).classes == ("1", "2")


def test_an_archive_with_a_layout_keeps_its_folders(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics" / "train", 3, ("cat", "dog")).parent
    for layout in ("train/{label}/*", "{split}/{label}/*"):
        assert listed_as(root, True, layout=layout).counts() == {"cat": 3, "dog": 3}
    for c in ("cat", "dog"):
        save(root / "stain2" / "train" / c / "000.png", noise(9))
    assert len(listed_as(root, True, layout="**/{label}/*")) == 8


def test_paths_that_repeat_names_take_no_time(tmp_path: Path) -> None:
    """`case17/image` of thousands: one walk, and a look at those of the same folder's name."""
    n = 3000
    for i in range(n):
        (tmp_path / f"case{i}").mkdir()
        (tmp_path / f"case{i}" / "image.png").touch()
    rows = [{"path": f"case{i}/image", "label": "ab"[i % 2]} for i in range(n)]
    begun = time.monotonic()
    listed = sources.listing(source("manifest", path=table(tmp_path, rows, "m.csv")))
    assert len(listed) == n and time.monotonic() - begun < 5


def test_arrays_in_fortrans_order_and_of_another_byte_order(tmp_path: Path) -> None:
    pixels = noise(0, 12, 16, 18)
    for name, images in (("f", np.asfortranarray(pixels)), ("b", pixels.astype(">u2"))):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=(np.arange(12) % 2).astype(">i4"))
        taken = came("arrays", tmp_path / name, ImageOptions(size=16, resize="crop"), path=tmp_path / f"{name}.npz")
        assert np.array_equal(taken.images[:, 0], pixels[:, :, 1:17]), name


@pytest.mark.parametrize("shape", [(10, 14, 14), (10, 14, 14, 1), (10, 1, 14, 14), (10, 3, 14, 14)])
def test_shapes_of_arrays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = noise(0, *shape)
    np.save(tmp_path / "x.npy", pixels)
    np.save(tmp_path / "y.npy", np.array(["a", "b"] * 5))
    taken = came(
        "arrays", tmp_path, ImageOptions(size=16, resize="stretch"), path=tmp_path / "x.npy", labels=tmp_path / "y.npy"
    )
    assert taken.images.shape == (10, 3 if 3 in shape else 1, 16, 16)
    assert taken.listing.classes == ("a", "b")
    assert (taken.facts.width == 14).all()


def test_an_npz_with_groups_and_weights_is_read_in_blocks(tmp_path: Path, monkeypatch) -> None:
    from augpipe.data.sources import _npy

    monkeypatch.setattr(_npy, "AT_ONCE", 16 * 16 * 7)
    pixels, weights = noise(0, 40, 16, 16), np.linspace(1, 2, 40)
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(40) % 4, groups=np.arange(40) // 8, weights=weights)
    made = came("arrays", tmp_path, path=tmp_path / "x.npz").image_set()
    assert np.array_equal(made.images[:, 0], pixels)
    assert made.table["group"].tolist() == [str(i // 8) for i in range(40)]
    assert made.table["weight"].tolist() == weights.tolist()


# archive


def zipped(root: Path, target: Path, top: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*.png")):
            archive.write(path, f"{top}{path.relative_to(root)}")
    return target


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_an_archive_is_read_in_place(tmp_path: Path, suffix: str) -> None:
    root = folders(tmp_path / "pics", 5)
    target = tmp_path / f"x{suffix}"
    if suffix == ".zip":
        zipped(root, target, "wrapped/")
    else:
        with tarfile.open(target, f"w:{suffix[5:]}") as archive:
            archive.add(root, "wrapped")
    taken = came("archive", tmp_path, path=target)
    assert taken.listing.counts() == {"a": 5, "b": 5} and not taken.bad
    plain = came("folder", tmp_path / "plain", path=root)
    assert sorted(taken.ids) == sorted(plain.ids)
    assert taken.fingerprint() == plain.fingerprint()
    by_id = dict(zip(plain.ids, plain.images, strict=True))
    assert all(np.array_equal(by_id[i], x) for i, x in zip(taken.ids, taken.images, strict=True))
    assert {p.name for p in tmp_path.iterdir()} == {"pics", "plain", "taken", target.name}


def test_several_archives_and_zips_inside_a_zip(tmp_path: Path) -> None:
    one = zipped(folders(tmp_path / "1", 3, ("a",)), tmp_path / "one.zip", "data/x/")
    two = zipped(folders(tmp_path / "2", 2, ("b",)), tmp_path / "two.zip", "data/x/")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(one, "deep/one.zip")
        archive.write(two, "deep/two.zip")
    assert came("archive", tmp_path / "o", path=outer).listing.counts() == {"a": 3, "b": 2}
    both = source("archive", path=[one, two])
    assert sources.listing(both).counts() == {"a": 3, "b": 2}


def test_a_picture_packed_into_two_archives_is_one(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 4)
    one = zipped(root, tmp_path / "one.zip", "data/")
    save(root / "a" / "000.png", noise(777))  # the same name, another picture
    two = zipped(root, tmp_path / "two.zip", "data/")
    taken = came("archive", tmp_path, path=[one, two])
    assert taken.listing.counts() == {"a": 5, "b": 4} and "a/000~2.png" in taken.ids
    assert taken.notes == (
        "the class folders are read from data, the only folder",
        "7 pictures packed into several archives, taken once",
    )


# torchvision


def idx(values: np.ndarray) -> bytes:
    dims = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + dims + values.astype(np.uint8).tobytes()


def raw_mnist(root: Path, name: str, packed: bool, prefix: str = "") -> tuple[np.ndarray, np.ndarray]:
    root.mkdir(parents=True, exist_ok=True)
    images, labels = noise(3, 30, 28, 28), np.arange(30) % 10
    for part, rows in (("train", slice(0, 20)), ("t10k" if not prefix else "test", slice(20, 30))):
        for what, values in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            data = idx(values)
            path = root / f"{prefix}{part}-{what}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    return images, labels


@pytest.mark.parametrize("inner", ["KMNIST/raw", "raw", "."])
@pytest.mark.parametrize("packed", [True, False])
def test_raw_files_gzipped_or_not(tmp_path: Path, inner: str, packed: bool) -> None:
    images, labels = raw_mnist(tmp_path / "root" / inner, "KMNIST", packed)
    before = untouched(tmp_path / "root")
    taken = came("torchvision", tmp_path, name="KMNIST", root=tmp_path / "root")
    assert np.array_equal(taken.images[:, 0], images)
    assert taken.splits.tolist() == ["train"] * 20 + ["test"] * 10
    assert taken.listing.classes[:3] == ("o", "ki", "su")
    assert np.array_equal(taken.labels, labels)
    assert untouched(tmp_path / "root") == before


def test_a_set_with_an_option(tmp_path: Path) -> None:
    raw_mnist(tmp_path / "root" / "EMNIST" / "raw", "EMNIST", True, "emnist-digits-")
    config = source("torchvision", name="EMNIST", root=tmp_path / "root", options={"split": "digits"})
    assert len(sources.listing(config)) == 30
    other = source("torchvision", name="EMNIST", root=tmp_path / "root", options={"split": "letters"})
    with pytest.raises(UserError, match="cannot read EMNIST from"):
        sources.listing(other)


def test_a_set_of_pictures_on_disk(tmp_path: Path) -> None:
    """GTSRB as torchvision lays it out: PPM files by class, a table for test."""
    base = tmp_path / "root" / "gtsrb"
    for c in range(2):
        for i in range(3):
            save(base / "GTSRB" / "Training" / f"{c:05d}" / f"{i}.ppm", noise(9 * c + i, 20, 24, 3))
    for i in range(2):
        save(base / "GTSRB" / "Final_Test" / "Images" / f"{i}.ppm", noise(90 + i, 20, 24, 3))
    (base / "GT-final_test.csv").write_text("Filename;ClassId\n0.ppm;0\n1.ppm;1\n")
    taken = came("torchvision", tmp_path, name="GTSRB", root=tmp_path / "root")
    assert taken.listing.classes == ("0", "1") and taken.images.shape == (8, 3, 16, 16)
    assert taken.splits.tolist() == ["train"] * 6 + ["test"] * 2


def test_attributes_and_identities(tmp_path: Path) -> None:
    """CelebA as torchvision lays it out: a person is a group."""
    base = tmp_path / "root" / "celeba"
    for i in range(6):
        save(base / "img_align_celeba" / f"{i}.jpg", noise(i, 22, 18, 3))
    names = [f"{i}.jpg" for i in range(6)]
    (base / "list_eval_partition.txt").write_text("".join(f"{n} {i // 2}\n" for i, n in enumerate(names)))
    (base / "identity_CelebA.txt").write_text("".join(f"{n} {i % 2 + 7}\n" for i, n in enumerate(names)))
    rows = "".join(f"{n} {1 if i % 2 else -1} -1\n" for i, n in enumerate(names))
    (base / "list_attr_celeba.txt").write_text(f"6\nSmiling Young\n{rows}")
    for part in ("list_bbox_celeba", "list_landmarks_align_celeba"):
        (base / f"{part}.txt").write_text("6\nx y\n" + "".join(f"{n} 1 2\n" for n in names))
    from torchvision.datasets import CelebA

    known = CelebA._check_integrity
    CelebA._check_integrity = lambda self: True  # these pictures are not the published ones
    try:
        config = source("torchvision", name="CelebA", root=tmp_path / "root", target="Smiling")
        listed = sources.listing(config)
        assert listed.classes == ("Smiling", "not Smiling")
        assert listed.groups.tolist() == ["7", "8"] * 3
        assert listed.splits.tolist() == ["train"] * 2 + ["test"] * 2 + ["val"] * 2
        with pytest.raises(UserError, match=r"set source\.target; choose from Smiling, Young"):
            sources.listing(source("torchvision", name="CelebA", root=tmp_path / "root"))
        with pytest.raises(UserError, match=r"unknown attribute of CelebA 'Smile' \(did you mean 'Smiling'"):
            sources.listing(source("torchvision", name="CelebA", root=tmp_path / "root", target="Smile"))
    finally:
        CelebA._check_integrity = known


def test_a_set_without_files_and_one_that_does_not_exist(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    made = came("torchvision", tmp_path, name="FakeData", options={"size": 12, "num_classes": 3})
    assert len(made.rows) == 12 and made.splits is None
    with pytest.raises(ValueError, match=r"unknown torchvision set 'MNISTT' \(did you mean"):
        source("torchvision", name="MNISTT")
    with pytest.raises(ValueError, match="the option 'train' is set by augpipe"):
        source("torchvision", name="MNIST", options={"train": 1})
    with pytest.raises(UserError, match=r"the root .*torchvision of MNIST is not a folder"):
        sources.listing(source("torchvision", name="MNIST"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"cannot read CIFAR10 from"):
        sources.listing(source("torchvision", name="CIFAR10", root=tmp_path / "empty"))
    with pytest.raises(UserError, match=r"source\.root and source\.download are mutually exclusive"):
        sources.listing(source("torchvision", name="MNIST", root=tmp_path, download=True))


def test_every_named_set_is_torchvisions() -> None:
    import inspect

    from torchvision import datasets

    for name, splits in torchvision.SETS.items():
        takes = inspect.signature(getattr(datasets, name).__init__).parameters
        for arguments in splits.values():
            assert set(arguments) <= set(takes) or "kwargs" in takes, name


def test_a_download_without_a_network_is_told(tmp_path: Path, monkeypatch) -> None:
    """The proxy answers nothing: torchvision's own error becomes one line, and nothing is left half."""
    monkeypatch.setenv("AUGPIPE_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot download MNIST: .*without a network, put its files"):
        sources.listing(source("torchvision", name="MNIST", download=True))
    with pytest.raises(UserError, match=r"cannot download breastmnist: .*without a network"):
        sources.listing(source("medmnist", name="breastmnist", download=True))


# medmnist


def test_medmnist_by_name(tmp_path: Path) -> None:
    parts = {}
    for side, n in (("train", 10), ("val", 4), ("test", 6)):
        parts[f"{side}_images"] = noise(n, n, 28, 28)
        parts[f"{side}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez(tmp_path / "breastmnist.npz", **parts)
    listed = sources.listing(source("medmnist", name="breastmnist", root=tmp_path))
    assert listed.classes == ("malignant", "normal, benign") and len(listed) == 20
    with pytest.raises(UserError, match=r"no breastmnist_64\.npz in .*set source\.download"):
        sources.listing(source("medmnist", name="breastmnist", root=tmp_path, size=64))
    with pytest.raises(UserError, match="unknown MedMNIST set 'brestmnist'"):
        sources.listing(source("medmnist", name="brestmnist", root=tmp_path))
    for name in ("chestmnist", "organmnist3d"):
        with pytest.raises(UserError, match="does not have images of one class each"):
            sources.listing(source("medmnist", name=name, root=tmp_path))


# the kinds together


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.zip", "archive"),
        ("x.tar.gz", "archive"),
        ("x.npz", "arrays"),
        ("x.csv", "manifest"),
        ("x.parquet", "manifest"),
        ("folder", "folder"),
        ("scans", "dicom"),
    ],
)
def test_what_a_user_points_at_finds_its_kind(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind in ("folder", "dicom"):
        path.mkdir()
        (path / ("a.dcm" if kind == "dicom" else "a.png")).touch()
    else:
        path.touch()
    assert sources.suggest(path)["kind"] == kind


def test_a_file_of_no_kind(tmp_path: Path) -> None:
    (tmp_path / "x.rar").touch()
    with pytest.raises(UserError, match=r"unknown kind of source: .*x\.rar; use a folder, \.zip"):
        sources.suggest(tmp_path / "x.rar")


@pytest.mark.parametrize(
    ("name", "way_on"),
    [
        ("data-0.arrow", "to_parquet"),
        ("data_batch_1", "name: CIFAR10"),
        ("train-images-idx3-ubyte", "name: MNIST"),
        ("emnist-letters-train-images-idx3-ubyte.gz", r"name: EMNIST, root: FOLDER, options: \{split: letters\}"),
        ("x.h5", r"np\.savez"),
        ("x.pt", r"np\.savez"),
        ("x.rar", "unpack x.rar"),
        ("coco.json", "as a table"),
    ],
)
def test_how_to_go_on_with_another_form(tmp_path: Path, name: str, way_on: str) -> None:
    """As a file, and as a folder of such."""
    (tmp_path / name).write_bytes(b"\0" * 200)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=way_on):
            sources.listing(source(**sources.suggest(path)))


@pytest.mark.parametrize("kind", sources.sources())
def test_every_source_has_its_parts(kind: str) -> None:
    module = load_kind("augpipe.data.sources", kind, "source")
    assert module.Config.model_fields["kind"] and callable(module.listing)
    assert module.__doc__ and module.Config.__doc__  # heads that say what it reads
    assert json.dumps(module.Config.model_json_schema())  # a form can be made of it


def test_rows_of_a_listing_can_be_asked_for_apart(tmp_path: Path) -> None:
    """Every kind that holds many: some rows, ascending, are the rows themselves."""
    root = folders(tmp_path / "pics", 9)
    np.savez(tmp_path / "x.npz", images=noise(0, 18, 16, 16), labels=np.arange(18) % 2)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(root, "w")
    table(
        tmp_path,
        [{"path": f"pics/{p.parent.name}/{p.name}", "label": p.parent.name} for p in sorted(root.rglob("*.png"))],
    )
    asked = np.array([1, 2, 7, 11, 17])
    for kind, path in (
        ("folder", root),
        ("arrays", tmp_path / "x.npz"),
        ("archive", tmp_path / "x.tar.gz"),
        ("manifest", tmp_path / "m.csv"),
        ("bundled", None),
    ):
        listed = sources.listing(source(kind, **({"path": path} if path else {})))
        whole = [plain(blob) for blob in listed.fetch(np.arange(len(listed)))]
        assert [plain(blob) for blob in listed.fetch(asked)] == [whole[row] for row in asked], kind


def plain(blob: object) -> bytes:
    if isinstance(blob, np.ndarray):
        return blob.tobytes()
    if isinstance(blob, Image.Image):
        return blob.tobytes()
    return blob if isinstance(blob, bytes) else Path(str(blob)).read_bytes()


def test_a_zip_that_holds_something_else_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match="has none"):
        sources.listing(source("archive", path=tmp_path / "x.zip"))
    (tmp_path / "y.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"cannot read the archive .*y\.zip: File is not a zip file"):
        sources.listing(source("archive", path=tmp_path / "y.zip"))


def test_a_name_that_stands_twice_in_a_zip_is_not_lost(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(0)).save(buffer, "PNG")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a/0.png", "b/0.png", "a/0.png"):
            archive.writestr(name, buffer.getvalue())
    taken = came("archive", tmp_path, path=tmp_path / "x.zip")
    assert why(taken) == {"a/0.png": "duplicate name in the archive"}
