"""A folder of class folders as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import came, folders, listed_as, noise, save, source, untouched

from augpipe.core.errors import UserError
from augpipe.data import sources


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
    assert any("a split, which is kept unless split.kind draws another" in note for note in listed.notes)
    as_classes = source("folder", path=tmp_path / "pics", layout="{label}/**/*")
    assert sources.listing(as_classes).classes == ("Train", "test", "valid")


def test_classes_called_train_and_trousers_are_classes(tmp_path: Path) -> None:
    folders(tmp_path, 3, ("train", "trousers"))
    listed = sources.listing(source("folder", path=tmp_path))
    assert listed.splits is None and listed.classes == ("train", "trousers")


def test_pictures_in_deeper_folders_are_not_lost(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        folders(tmp_path, 2, (f"ill/{patient}", f"well/{patient}"))
    with pytest.raises(UserError, match=r"p1, p2\), and either may be the classes: .*'\{label\}/\{group\}/\*' if each"):
        sources.listing(source("folder", path=tmp_path))
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


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        sources.listing(source("folder", path=tmp_path / "no"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        sources.listing(source("folder", path=tmp_path / "file"))
    with pytest.raises(UserError, match=r"at least 2 classes; it has none"):
        sources.listing(source("folder", path=tmp_path))
