"""Folders that are the same inside of all top folders: a split of each class, or the classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from advice import printed, touched, typed

from augpipe.core.errors import UserError

# Top folders, folders inside, and the classes and groups of each layout that the message prints, in its order.
SHARED = {
    "patients, as in IDC": (
        ("8863", "8864", "8865"),
        ("0", "1"),
        [("01", None), ("01", "8863 8864 8865"), ("8863 8864 8865", "01"), ("8863 8864 8865", None)],
    ),
    "sites": (
        ("siteA", "siteB"),
        ("neg", "pos"),
        [("neg pos", None), ("neg pos", "siteA siteB"), ("siteA siteB", "neg pos"), ("siteA siteB", None)],
    ),
    "views below a folder": (
        ("set/cat", "set/dog"),
        ("all/front", "all/side"),
        [("front side", None), ("front side", "cat dog"), ("cat dog", "front side"), ("cat dog", None)],
    ),
    "below a split": (
        ("train/s1", "train/s2", "test/s1", "test/s2"),
        ("ill", "well"),
        [("ill well", None), ("ill well", "s1 s2"), ("s1 s2", "ill well"), ("s1 s2", None)],
    ),
    "below a split of each": (
        ("a", "b"),
        ("train/x", "train/y", "test/x", "test/y"),
        [("x y", None), ("x y", "a b"), ("a b", "x y"), ("a b", None)],
    ),
    "a split under other names": (
        ("a", "b"),
        ("train_set", "test_set"),
        [("a b", None), ("test_set train_set", None), ("test_set train_set", "a b"), ("a b", "test_set train_set")],
    ),
}


def names(text: str | None) -> set[str] | None:
    return None if text is None else set(text.split() if " " in text else text)


@pytest.mark.parametrize("case", SHARED)
def test_folders_with_the_same_folders_inside_stop_and_each_printed_layout_reads_them(
    tmp_path: Path, case: str
) -> None:
    tops, inner, readings = SHARED[case]
    touched(tmp_path, *(f"{top}/{folder}/{i}.png" for top in tops for folder in inner for i in range(2)))
    with pytest.raises(UserError, match=r"with the same folders inside .* either may be the classes") as caught:
        typed(tmp_path)
    layouts = printed(str(caught.value))
    assert len(layouts) >= len(readings)
    for layout, (classes, groups) in zip(layouts, readings, strict=False):
        images = typed(tmp_path, layout)
        assert not images.bad and len(images) == 2 * len(tops) * len(inner)
        assert set(images.classes) == names(classes), layout
        assert (None if images.groups is None else set(images.groups)) == names(groups), layout
    assert len(typed(tmp_path, f"source.classes=[{', '.join(sorted({t.split('/')[-1] for t in tops}))}]")) == len(
        tops
    ) * 2 * len(inner)  # classes that are named need no layout


@pytest.mark.parametrize(
    ("paths", "classes"),
    [
        (["cats/tabby", "cats/other", "cats/lynx", "dogs/pug", "dogs/other", "dogs/boxer"], ("cats", "dogs")),
        (["a/images", "b/images"], ("a", "b")),
        (["a/p1", "a/p2", "b/p3", "b/p4"], ("a", "b")),
    ],
)
def test_other_folders_inside_of_classes_are_read(tmp_path: Path, paths: list[str], classes: tuple[str, ...]) -> None:
    assert typed(touched(tmp_path, *(f"{path}/0.png" for path in paths))).classes == classes


def test_a_picture_beside_the_folders_does_not_hide_them(tmp_path: Path) -> None:
    paths = [f"site{s}/{c}/{i}.png" for s in "AB" for c in ("pos", "neg") for i in range(2)]
    with pytest.raises(UserError, match="either may be the classes") as caught:
        typed(touched(tmp_path, *paths, "siteA/overview.png"))
    images = typed(tmp_path, printed(str(caught.value))[0])
    assert images.counts() == {"neg": 4, "pos": 4} and [one.id for one in images.bad] == ["siteA/overview.png"]


def test_folders_of_which_some_lack_a_class_stop_too(tmp_path: Path) -> None:
    """As patients without a tumour."""
    with pytest.raises(UserError, match="either may be the classes"):
        typed(touched(tmp_path, "8863/0/1.png", "8863/1/1.png", "8864/0/1.png", "8865/0/1.png", "8865/1/1.png"))


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["cat/train", "cat/test", "dog/train", "dog/test"], {"train", "test"}),
        (["cat/Train", "cat/valid", "dog/Train"], {"train", "val"}),
        (["cat/images/train/deep", "cat/images/test", "dog/images/train", "dog/images/test"], {"train", "test"}),
        (["set/cat/train", "set/cat/test", "set/dog/train"], {"train", "test"}),
    ],
)
def test_a_split_inside_of_each_class_is_the_split(tmp_path: Path, paths: list[str], splits: set[str]) -> None:
    images = typed(touched(tmp_path, *(f"{path}/0.png" for path in paths)))
    assert images.classes == ("cat", "dog") and images.splits is not None and not images.bad
    wanted = {("val" if "valid" in path else "train" if "rain" in path else "test") for path in paths}
    assert set(images.splits) == splits == wanted
    assert any("inside of the class folders are used as the split" in note for note in images.notes)
    assert typed(tmp_path, "source.layout={label}/**/*").splits is None


def test_patients_below_a_split_of_each_class_are_not_passed_over(tmp_path: Path) -> None:
    paths = [f"{'ab'[i // 4]}/{('train', 'test')[i % 2]}/patient{i // 2}/{n}.png" for i in range(8) for n in "01"]
    with pytest.raises(UserError, match="which look like groups") as caught:
        typed(touched(tmp_path, *paths))
    images = typed(tmp_path, printed(str(caught.value))[0])
    assert set(images.groups) == {f"patient{i}" for i in range(4)}
    assert set(images.splits) == {"train", "test"}


def test_files_of_the_same_names_in_each_folder_stop(tmp_path: Path) -> None:
    """As KDEF's persons, whose expression is in the file's name after theirs; and objects with views."""
    persons = [f"{who}/{who}{shot}.JPG" for who in ("AF01", "AF02", "AM01", "AM02") for shot in ("AFS", "ANS", "DIS")]
    with pytest.raises(UserError, match=r"AF01, AF02, .* whose files have the same names \(AFS, ANS, DIS\)") as caught:
        typed(touched(tmp_path / "kdef", *persons))
    assert len(typed(tmp_path / "kdef", *printed(str(caught.value))).classes) == 4
    touched(tmp_path / "views", *(f"obj{i}/{view}.png" for i in range(5) for view in ("front", "side")))
    with pytest.raises(UserError, match="as those of persons or objects: set") as caught:
        typed(tmp_path / "views")
    images = typed(tmp_path / "views", printed(str(caught.value))[0])
    assert images.classes == ("front", "side") and len(set(images.groups)) == 5
    # Numbered files are alike in any classes.
    others = touched(
        tmp_path / "c", *(f"{c}/image_{i:04d}.jpg" for c in ("ant", "bee", "cow", "dog") for i in range(3))
    )
    assert len(typed(others).classes) == 4


def test_labels_in_a_folder_of_texts_called_as_the_pictures(tmp_path: Path) -> None:
    """As CK+'s emotions: the folder is no class, and the message names it."""
    names = [f"S00{who}/00{shot}/S00{who}_00{shot}_0000000{i}" for who in range(4) for shot in "12" for i in "12"]
    touched(tmp_path, *(f"images/{name}.png" for name in names), *(f"Emotion/{n}_emotion.txt" for n in names[1::2]))
    with pytest.raises(UserError, match=r"S000, S001, .* the folder Emotion has no picture but 8 \.txt files"):
        typed(tmp_path)


@pytest.mark.parametrize("value", ["Training_P_{}/1.3.6/0.dcm", "Training_P_{}"])
def test_a_table_of_folders_beside_them_stops(tmp_path: Path, value: str) -> None:
    """As CBIS-DDSM's: its paths are not those of the files, and a folder has one series."""
    touched(tmp_path, *(f"CBIS/Training_P_{i}/full/1-1.png" for i in range(6)))
    rows = [f"{i // 2},{('BENIGN', 'MALIGNANT')[i % 2]},{value.format(i)}" for i in range(6)]
    (tmp_path / "cases.csv").write_text("\n".join(["patient_id,pathology,image file path", *rows]))
    with pytest.raises(
        UserError, match=r"cases\.csv has in its column 'image file path' the names of the folders"
    ) as e:
        typed(tmp_path)
    assert len(typed(tmp_path, *printed(str(e.value))).classes) == 6
    # Classes have more pictures, and a table of classes is no matter.
    touched(tmp_path, *(f"CBIS/Training_P_{i}/full/{n}.png" for i in range(6) for n in "abc"))
    assert len(typed(tmp_path).classes) == 6
