"""Top folders that are no classes: splits under other names, folds, masks, copies; as a folder and in a zip."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

import pytest
from advice import printed, touched, typed
from pictures import advised, noise, save, source, tree

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.pipeline.config_values import override


def listed(root: Path, packed: bool, **options: Any) -> sources.Listing:
    if not packed:
        return sources.listing(source("folder", path=root, **options))
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted(root.rglob("*.png")):
            archive.write(path, path.relative_to(root))
    return sources.listing(source("archive", path=root.with_suffix(".zip"), **options))


def zipped(root: Path, **options: Any) -> sources.Listing:
    """All files, not only the pictures, and folders in an archive."""
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root))
    return sources.listing(source("archive", path=root.with_suffix(".zip"), **options))


def as_either(root: Path, **options: Any) -> sources.Listing:
    """The listing of a folder; in a zip it must have the same classes and notes, or stop with the same message."""
    answers = []
    for read in (lambda: sources.listing(source("folder", path=root, **options)), lambda: zipped(root, **options)):
        try:
            answer: Any = read()
            shown = repr((answer.classes, answer.counts(), sorted(answer.notes)))
        except UserError as error:
            answer, shown = error, str(error)
        shown = shown.replace(f" in the archive {root}.zip", "").replace(
            f"the archive {root}.zip", f"the folder {root}"
        )
        shown = shown.replace("unpack the archive and ", "").replace(" in place of the folder", "")
        answers.append((answer, shown.replace(f"{root}/", "").replace(f"source.root={root}", "source.root=.")))
    assert answers[0][1] == answers[1][1]
    if isinstance(answers[0][0], UserError):
        raise answers[0][0]
    return answers[0][0]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    "pair",
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_set", "test_set"),
        ("training_set", "test_set"),
        ("data-train", "data-val"),
        ("trainset", "testset"),
    ],
)
def test_splits_under_other_names(tmp_path: Path, pair: tuple[str, str], packed: bool) -> None:
    root = tree(tmp_path / "pics", *(f"{side}/{c}" for side in pair for c in "ab"))
    with pytest.raises(UserError, match=r"if they are a split, or source\.layout=") as caught:
        listed(root, packed)
    images = listed(root, packed, **advised(str(caught.value)))
    assert images.counts() == {"a": 4, "b": 4} and not images.bad
    other = {"train", "val"} if "val" in pair[1] else {"train", "test"}
    assert set(images.splits) == other
    assert len(listed(root, packed, layout="{label}/**/*").classes) == 2


def test_splits_of_different_spellings_and_what_is_none(tmp_path: Path) -> None:
    root = tree(tmp_path / "pics", "my_train/a", "my_train/b", "val-1/a", "val-1/b")
    with pytest.raises(UserError, match="rename those that are a split to train, val and test"):
        listed(root, False)
    # Classes: pictures are in them, or only one is named like a split.
    for names in (("train_a", "test_a"), ("train_a/x", "bus/x")):
        tree(tmp_path / names[1].split("/")[0], *names)
        assert len(listed(tmp_path / names[1].split("/")[0], False).classes) == 2


@pytest.mark.parametrize("name", ["unknown", "test", "-1"])
def test_a_test_of_one_folder_that_names_no_class_is_left_out(tmp_path: Path, name: str) -> None:
    images = listed(tree(tmp_path / "set", "train/a", "train/b", f"test/{name}"), False)
    assert images.classes == ("a", "b") and set(images.splits) == {"train"}
    assert images.notes[-1].startswith(f"2 images of test without a label ({name})")
    assert not any(repr(name) in note for note in images.notes)
    other = listed(tree(tmp_path / "other", "train/a", "train/b", "test/c"), False)
    assert other.classes == ("a", "b", "c")  # whether train lacks a class is no question of names


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    "names",
    [("Train/a", "Train/b", "Test_images"), ("seg_train/a", "seg_train/b", "seg_test/a", "seg_test/b", "seg_pred")],
)
def test_pictures_without_a_class_beside_a_split(tmp_path: Path, names: tuple[str, ...], packed: bool) -> None:
    """Kaggle's unlabelled test sets would be a class."""
    root = tree(tmp_path / "pics", *names)
    with pytest.raises(UserError, match=rf"{names[-1]} with pictures that are in none: leave") as e:
        listed(root, packed)
    options = advised(str(e.value))
    if "seg_pred" in names:
        with pytest.raises(UserError, match=r"source\.layout='seg_{split}/{label}"):
            listed(root, packed, exclude=options["exclude"])
    else:
        assert listed(root, packed, exclude=options["exclude"]).classes == ("a", "b")
    vehicles = tree(tmp_path / "vehicles", "train/x", "train/y", "bus")  # a train is a class here
    assert listed(vehicles, packed).classes == ("bus", "train")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("top", ["", "set/"])
def test_advised_layouts_below_folders_around_all(tmp_path: Path, top: str, packed: bool) -> None:
    """Folds and patients would be the classes if a layout were matched with the folders around all."""
    folds = tree(tmp_path / "folds", *(f"{top}fold{i}/{c}" for i in range(3) for c in "ab"))
    patients = tree(tmp_path / "patients", *(f"{top}patient{i}/{c}" for i in range(4) for c in "ab"))
    for root, groups in ((folds, 0), (patients, 4)):
        with pytest.raises(UserError, match="with the same folders inside") as caught:
            listed(root, packed)
        images = listed(root, packed, **advised(str(caught.value)))
        assert images.classes == ("a", "b") and not images.bad
        assert groups == (0 if images.groups is None else len(set(images.groups)))
    split = tree(tmp_path / "split", *(f"{top}{side}/{c}" for side in ("train", "test") for c in "ab"))
    assert set(listed(split, packed, layout="{split}/{label}/**/*").splits) == {"train", "test"}
    if top:
        with pytest.raises(UserError, match=r"with and without 'set', .*'set/\*/\{label\}/\*\*/\*' or .*'set/\{lab"):
            listed(folds, packed, layout="*/{label}/**/*")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("names", [("fold0", "fold1", "fold2"), ("images", "masks"), ("part_1", "part_2")])
def test_folds_parts_and_masks_above_the_classes(tmp_path: Path, names: tuple[str, ...], packed: bool) -> None:
    root = tree(tmp_path / "pics", *(f"{name}/{c}" for name in names for c in "ab"))
    with pytest.raises(UserError, match="with the same folders inside") as caught:
        listed(root, packed)
    images = listed(root, packed, **advised(str(caught.value)))
    n = 2 if "masks" in names else 2 * len(names)
    assert images.counts() == {"a": n, "b": n} and not images.bad
    others = tree(tmp_path / "others", *(f"{name}/{i}" for i, name in enumerate(names)))
    assert listed(others, packed).classes == names  # patients of their own


COPIES = ["thumbnails", "backup", "bak", "a - Copy", "a (1)", "A_copy2", "a_old", "b.bak", "a~", "a_aug"]
COPIES += ["copy of a", "Kopie von b", "old_a", "backup.a", "tmp-a"]


@pytest.mark.parametrize("name", COPIES)
def test_class_folders_that_are_copies_by_name_stop(tmp_path: Path, name: str) -> None:
    root = touched(tmp_path / "set", "a/1.png", "b/1.png", f"{name}/{'a/' if name == 'backup' else ''}1.png")
    for top in (root, root.parent):
        with pytest.raises(UserError, match=f"class folders '{re.escape(name)}', which by their names are copies") as e:
            typed(top)
        exclude, layout = printed(str(e.value))
        assert typed(top, exclude).counts() == {"a": 1, "b": 1}
        assert len(typed(top, layout).classes) == 3
    assert typed(root, f"source.classes=['{name}', b]").classes == (name, "b")


@pytest.mark.parametrize("names", ["old new", "young old", "a b_old", "original copyright"])
def test_class_folders_that_are_no_copies(tmp_path: Path, names: str) -> None:
    assert not typed(touched(tmp_path, *(f"{name}/1.png" for name in names.split()))).notes


@pytest.mark.parametrize("name", ["thumbs", "_Thumbnails", "augmented"])
def test_copies_by_name_inside_of_the_classes(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path / "pics", "a", "b", f"a/{name}", f"b/{name}")
    (note,) = listed(root, False).notes
    assert f"the sub-folders {name!r} of the classes are by name copies" in note
    assert listed(root, False, **advised(note)).counts() == {"a": 2, "b": 2}
    tree(root, "a/p1")
    assert any("each is a patient" in one for one in listed(root, False).notes)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_folders_of_systems_are_no_classes(tmp_path: Path, packed: bool) -> None:
    """Of Synology, QNAP, NetApp, Windows and macOS; as a class, and inside of one."""
    names = (
        "#snapshot",
        "@tmp",
        "@Recycle",
        "@Recently-Snapshot",
        "~snapshot",
        "RECYCLER",
        "Network Trash Folder",
        "Temporary Items",
    )
    root = tree(tmp_path / "pics", "a", "b", *names, "a/#snapshot")
    assert listed(root, packed).counts() == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("ill_train", "ill_test", "so_well_train", "so_well_test"), ("ill", "so_well")),
        (("train-a", "test-a", "train-b", "test-b"), ("a", "b")),
    ],
)
def test_classes_of_a_split_in_one_name(tmp_path: Path, names: tuple[str, ...], labels: tuple[str, ...]) -> None:
    root = tree(tmp_path / "pics", *names)
    with pytest.raises(UserError, match="if they are classes of a split, or") as caught:
        listed(root, False)
    images = listed(root, False, **advised(str(caught.value)))
    assert images.classes == labels and set(images.splits) == {"train", "test"}


NO_CLASSES = ["unlabeled", "test", "Predictions", "pred", "_tmp2", "samples", "BACKGROUND_Google", "New folder"]
NO_CLASSES += ["gradcam", "Grad-CAM++", "heatmaps", "saliency_maps", "screenshots", "wandb", "__results___files"]


@pytest.mark.parametrize("name", NO_CLASSES)
def test_class_folders_that_are_no_classes_by_name(tmp_path: Path, name: str) -> None:
    (note,) = typed(touched(tmp_path, "a/1.png", "b/1.png", f"{name}/1.png")).notes
    assert note.startswith(f"{name!r} by name no class, and read as one")
    assert typed(tmp_path, *printed(note)).classes == ("a", "b")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_folders_of_patients(tmp_path: Path, packed: bool) -> None:
    """Above the classes or in them: they are neither classes nor passed over."""
    above = tree(tmp_path / "above", *(f"patient{i}/{c}" for i in range(4) for c in "ab"))
    with pytest.raises(UserError, match="look like groups, such as patients, with") as caught:
        listed(above, packed)
    images = listed(above, packed, **advised(str(caught.value)))
    assert images.classes == ("a", "b") and len(set(images.groups)) == 4
    assert len(listed(above, packed, layout="{label}/**/*").classes) == 4
    for split in ("", "train/", "test/"):
        tree(tmp_path / "in", *(f"{split}{'ab'[i % 2]}/patient-{i}" for i in range(4)))
        if not split:
            (tmp_path / "in").rename(tmp_path / "within")
    for root, prefix in ((tmp_path / "within", ""), (tmp_path / "in", "{split}/")):
        with pytest.raises(UserError, match=r"sub-folders such as 'patient-0'.*are not used") as e:
            listed(root, packed)
        assert advised(str(e.value))["layout"] == prefix + "{label}/{group}/**/*"
        assert len(set(listed(root, packed, **advised(str(e.value))).groups)) == 4
        assert listed(root, packed, layout=prefix + "{label}/**/*").groups is None


def test_folders_without_a_class_say_why(tmp_path: Path) -> None:
    """Pictures whose names begin with the class, with and without a split; classes that are links."""
    for i, folder in enumerate(("flat", "split/train", "split/test")):
        for j, name in enumerate(("cat_1.png", "dog_1.png")):
            save(tmp_path / folder / name, noise(10 * i + j))
    for folder, layout in (("flat", "{label-}_*"), ("split", "{split}/{label-}_*")):
        with pytest.raises(UserError, match="begin with the class") as caught:
            listed(tmp_path / folder, False)
        assert advised(str(caught.value))["layout"] == layout
        assert listed(tmp_path / folder, False, layout=layout).classes == ("cat", "dog")
    for i, breed in enumerate(("great_dane", "great_pyrenees", "pug")):  # as in Oxford-IIIT Pet
        save(tmp_path / "breeds" / f"{breed}_{i}.png", noise(30 + i))
    with pytest.raises(UserError, match="begin with the class") as caught:
        listed(tmp_path / "breeds", False)
    breeds = listed(tmp_path / "breeds", False, **advised(str(caught.value)))
    assert breeds.classes == ("great_dane", "great_pyrenees", "pug")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to(tmp_path / "flat")
    with pytest.raises(UserError, match="it has none; a: a link to outside the folder"):
        listed(tmp_path / "links", False)


def test_patients_in_the_names_of_files(tmp_path: Path) -> None:
    root = tmp_path / "pics"
    for i in range(24):
        save(root / "ab"[i // 12] / f"person{i // 3}_bacteria_{i}.png", noise(i))
    (note,) = listed(root, False).notes
    assert note.startswith("the names of 24 files begin as those of groups do, such as 'person0'")
    layout = re.search("layout='([^']*)'", note)
    assert layout and len(set(listed(root, False, layout=layout[1]).groups)) == 8
    save(root / "b" / "IM-0001.png", noise(99))  # no layout fits this too
    assert "table with a column group" in listed(root, False).notes[0]
    for i in range(24):  # images, not groups
        save(tmp_path / "other" / "ab"[i // 12] / f"image{i // 3}_{i}.png", noise(i))
    assert not listed(tmp_path / "other", False).notes


@pytest.mark.parametrize("shared", [False, True], ids=["in one class", "in both classes"])
@pytest.mark.parametrize("name", ["P{:03d}_{}", "s{}-{}", "sub-{:02d}_{}", "{:04d}_{}", "A{}_{}"])
def test_short_names_of_patients_in_the_names_of_files(tmp_path: Path, name: str, shared: bool) -> None:
    """A letter or none before the number is enough where the numbers repeat as groups do; what may mean patients is
    enough anywhere."""
    for i in range(24):
        save(tmp_path / "ab"[i // 12] / f"{name.format(i % 12 // 3 + (0 if shared else i // 12 * 4), i)}.png", noise(i))
    notes = listed(tmp_path, False).notes
    assert bool(notes) == (not shared or name[0] in "Ps")
    assert all(note.startswith("the names of 24 files begin as those of groups do") for note in notes)
    for note in notes:
        layout = re.search("layout='([^']*)'", note)
        assert layout and len(set(listed(tmp_path, False, layout=layout[1]).groups)) == (4 if shared else 8)


def test_numbers_in_the_names_of_files_that_are_no_groups(tmp_path: Path) -> None:
    for i in range(24):  # the number of the class, and one of all
        save(tmp_path / "class" / "ab"[i % 2] / f"{i % 2:03d}_{i}.png", noise(i))
        save(tmp_path / "all" / "ab"[i % 2] / f"{i:03d}_{i % 5}.png", noise(i))
    assert not listed(tmp_path / "class", False).notes and not listed(tmp_path / "all", False).notes


@pytest.mark.parametrize("names", [("train", "holdout"), ("Treino", "Teste")])
def test_a_split_whose_other_side_has_an_unknown_name(tmp_path: Path, names: tuple[str, str]) -> None:
    tree(tmp_path, *(f"{top}/{label}" for top in names for label in ("cat", "dog")))
    with pytest.raises(UserError, match="rename them to train, val and test if they are a split") as caught:
        listed(tmp_path, False)
    assert listed(tmp_path, False, **advised(str(caught.value))).classes == ("cat", "dog")


def test_folders_of_masks_are_no_class(tmp_path: Path) -> None:
    """By their names, and those of their files, which are those of the pictures in another folder."""
    for i in range(6):
        save(tmp_path / "pets" / "images" / f"{'ab'[i % 2]}_{i}.png", noise(i))
        save(tmp_path / "pets" / "annotations" / "trimaps" / f"{'ab'[i % 2]}_{i}.png", noise(100 + i))
        save(tmp_path / "dagm" / f"Class{i % 2}" / f"{i:04d}.png", noise(i))
        save(tmp_path / "dagm" / f"Class{i % 2}" / "Label" / f"{i:04d}_label.png", noise(100 + i))
    with pytest.raises(UserError, match=r"masks out with .*exclude=\[\"\*annotations/\*\"\]"):
        listed(tmp_path / "pets", False)
    with pytest.raises(UserError, match="has 6 pictures that are by their names masks or overlays of others") as caught:
        listed(tmp_path / "dagm", False)
    assert len(listed(tmp_path / "dagm", False, **advised(str(caught.value)))) == 6


def texts(root: Path, *names: str, text: str = "0 .5 .5 1 1\n") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


COCO = '{"images": [], "annotations": []}'
DETECTION = {  # folders of pictures, other files
    "YOLO": (("images",), {"labels/0.txt": "", "labels/1.txt": ""}),
    "YOLO with a split": (("images/train", "images/val"), {"labels/train/0.txt": "", "labels/val/1.txt": ""}),
    "COCO": (("images",), {"annotations/instances.json": COCO}),
    "COCO with a split": (("train2017", "val2017"), {"annotations/instances_train2017.json": COCO}),
    "VOC": (("JPEGImages",), {"Annotations/0.xml": "", "ImageSets/Main/train.txt": "0"}),
}


@pytest.mark.parametrize("form", DETECTION)
def test_boxes_of_object_detection_are_no_class(tmp_path: Path, form: str) -> None:
    folders, files = DETECTION[form]
    tree(tmp_path / "pics", *folders)
    for name, text in files.items():
        texts(tmp_path / "pics", name, text=text)
    with pytest.raises(UserError, match=r"as object detection has \(YOLO, VOC, COCO\): write a table"):
        as_either(tmp_path / "pics")


def test_folders_of_other_files_beside_classes_are_no_classes(tmp_path: Path) -> None:
    """An empty folder is still one, as is one of texts under a name of its own."""
    root = tree(tmp_path / "pics", "a", "b")
    texts(root, "annotations/xmls/0.xml", "boxes of all/0.txt", "boxes of all/1.txt", "docs/about.md")
    images = as_either(root)
    assert images.classes == ("a", "b")
    noted = [note for note in images.notes if "is not read as a class" in note]
    assert [note.split(" has no")[0] for note in noted] == [
        "the folder annotations",
        "the folder boxes of all",
        "the folder docs",
    ]
    texts(root, "cat/note.txt")
    (root / "labels").mkdir()
    assert as_either(root).classes == ("a", "b", "cat", "labels")


def test_lists_of_a_split_beside_classes_are_noted(tmp_path: Path) -> None:
    """As Food-101's: the classes below `images`, the lists in `meta`."""
    root = tree(tmp_path / "food", "images/a", "images/b", n=4)
    texts(root, "meta/train.txt", text="a/0\na/1\nb/0\nb/1\n")
    texts(root, "meta/labels.txt", text="a\nb\n")
    assert not any("split" in note for note in as_either(root).notes)
    texts(root, "meta/test_list.txt", text="images/a/2.png 0\nimages/b/3.png 1\n")
    images = as_either(root)
    assert images.classes == ("a", "b") and images.splits is None
    assert any(
        note.startswith("test_list.txt, train.txt list pictures of test, train, and are not used")
        for note in images.notes
    )


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("with_label", [False, True])
def test_a_split_in_a_table_beside_classes_is_not_passed_over(tmp_path: Path, packed: bool, with_label: bool) -> None:
    root = tree(tmp_path / "pics", "a", "b", n=6)
    for column, values in (("split", ["train", "test"]), ("is_test", ["0", "1"])):
        rows = [f"file,{'label,' if with_label else ''}{column}"]
        for i in range(12):
            name, number = "ab"[i // 6], i % 6
            rows.append(f"{name}/{number}.png,{f'{name},' if with_label else ''}{values[number > 3]}")
        (root / "split.csv").write_text("\n".join(rows) + "\n")
        with pytest.raises(UserError, match=rf"its column '{column}' looks like their split") as e:
            zipped(root) if packed else listed(root, False)
        if with_label and not packed:
            command = shlex.split(re.search(r"\((augpipe run .*)\), or", str(e.value))[1])
            values_set = dict(word.split("=", 1) for word in command if "source." in word)
            config = {"source": sources.suggest(Path(command[2]))}
            for key, value in values_set.items():
                override(config, f"{key}={value}")
            images = sources.listing(source(**config["source"]))
            assert images.counts() == {"a": 6, "b": 6}
            assert images.splits.tolist().count("test") == 4
        assert listed(root, False, layout="{label}/**/*").splits is None
    # The folders are the split already.
    divided = tree(tmp_path / "divided", "train/a", "train/b", "test/a", "test/b")
    rows = [f"{side}/{c}/{i}.png,{side}" for side in ("train", "test") for c in "ab" for i in "01"]
    (divided / "split.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    assert set(listed(divided, False).splits) == {"train", "test"}


def test_a_table_in_a_folder_of_labels_is_proposed(tmp_path: Path) -> None:
    root = tree(tmp_path / "pics", "images", n=8)
    texts(root, "labels/labels.csv", text="file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(8)))
    with pytest.raises(UserError, match=r"labels\.csv --set source\.root=\S*pics --set source\.col"):
        as_either(root)


@pytest.mark.parametrize("name", ["Annotation", "labels"])
def test_a_folder_of_files_called_as_the_pictures_is_no_class(tmp_path: Path, name: str) -> None:
    """Also if these have no suffix, as annotations of objects may."""
    root = tree(tmp_path / "pics", "Images/cat", "Images/dog", n=3)
    texts(root, *(f"{name}/{c}/{i}" for c in ("cat", "dog") for i in range(3)))
    listing = as_either(root)
    assert listing.classes == ("cat", "dog")
    assert any(f"the folder {name} has no picture but 6 files" in note for note in listing.notes)


@pytest.mark.parametrize("beside", ["EmoLabel/list.txt", "styles.csv"])
def test_a_file_beside_a_single_folder_is_named(tmp_path: Path, beside: str) -> None:
    root = tree(tmp_path / "pics", "Image/aligned", n=8)
    texts(root, beside, "README.txt", text="a,b\n1,2,3\n")
    with pytest.raises(UserError, match=rf"in the folder 'aligned', .*; if \S*{beside} has them, give that file"):
        as_either(root)


def test_classes_inside_of_the_only_folder_of_a_split(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", *(f"{s}/images/{c}" for s in ("train", "test") for c in ("crack", "ok")), n=4)
    texts(root, *(f"{s}/annotations/{i}.xml" for s in ("train", "test") for i in range(4)))
    with pytest.raises(UserError, match=r"'\{split\}/images/\{label\}/\*\*/\*' if the folders inside of it"):
        as_either(root)
    assert listed(root, False, layout="{split}/images/{label}/**/*").classes == ("crack", "ok")


def test_numbers_in_the_names_of_files_may_be_classes(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "x" / f"{20 + i}_{i % 2}_{i % 3}_2017{i}.jpg", noise(i))
    with pytest.raises(UserError, match=r"such as source\.layout='\*_\{label-\}_\*'") as caught:
        as_either(tmp_path / "x")
    assert "it has none; if a part of the files' names is the class, as '20_0_0_20170.jpg'" in str(caught.value)
    assert as_either(tmp_path / "x", layout="*_{label-}_*").counts() == {"0": 6, "1": 6}


@pytest.mark.parametrize("layout", ["*_*_{label-}.*", "*-*_{label-}_*"])
def test_the_layout_of_numbered_names_fits_them(tmp_path: Path, layout: str) -> None:
    """A class in the last field, and fields between other signs."""
    for i in range(12):
        name = f"{20 + i}_{100 + i}_{i % 2}" if layout.endswith(".*") else f"{20 + i}-{100 + i}_{i % 2}_x{i}"
        save(tmp_path / f"{name}.png", noise(i))
    with pytest.raises(UserError, match=re.escape(f"source.layout={layout!r}")):
        listed(tmp_path, False)
    assert listed(tmp_path, False, layout=layout).counts() == {"0": 6, "1": 6}


def test_tables_beside_folders_that_agree_with_them_or_have_no_labels(tmp_path: Path) -> None:
    """One row a class; and numbers of individuals that are the classes, beside a table about their pictures."""
    one = tree(tmp_path / "one", *(f"c{i}" for i in range(8)), n=3)
    texts(one, "examples.csv", text="".join(["file,label\n", *(f"c{i}/0.png,c{i}\n" for i in range(8))]))
    assert len(as_either(one).classes) == 8
    mice = tree(tmp_path / "mice", *(f"mouse{i}" for i in range(6)), n=3)
    texts(
        mice, "t.csv", text="".join(["file,width\n", *(f"mouse{i}/{k}.png,{i}{k}\n" for i in range(6) for k in "012")])
    )
    assert len(as_either(mice).classes) == 6


def test_a_column_of_masks_is_not_proposed_as_the_pictures(tmp_path: Path) -> None:
    rows = ["image,mask,label"]
    for i in range(40):
        save(tmp_path / "imgs" / f"{i // 2}.png", noise(i // 2))
        save(tmp_path / "masks" / f"m{i}.png", noise(100 + i))
        rows.append(f"imgs/{i // 2}.png,masks/m{i}.png,{'ab'[i // 2 % 2]}")
    texts(tmp_path, "t.csv", text="\n".join(rows))
    with pytest.raises(UserError, match=r"source\.columns\.path=image"):
        sources.listing(source("manifest", path=tmp_path / "t.csv"))


def test_a_table_beside_folders_of_patients_is_named(tmp_path: Path) -> None:
    """As CheXpert is published: its paths begin with the folder's name, and a patient may have a single picture."""
    root = tmp_path / "Chest"
    rows = []
    for i in range(12):
        path = f"{'train' if i < 9 else 'valid'}/patient{i:05d}/study1/view1.png"
        save(root / path, noise(i))
        rows.append(f"Chest/{path},{30 + i},{int(i % 2 == 0)},{int(i % 2)}")
    texts(root, "train.csv", text="\n".join(["Path,Age,Sick,Well", *rows]))
    with pytest.raises(UserError, match=r"the table .*train\.csv names the pictures in its column 'Path'"):
        as_either(root)


def test_the_advised_group_is_a_numbered_folder_and_no_kind(tmp_path: Path) -> None:
    folders = [
        f"{c}/SOB/{kind}{c}/SOB_14-{c}{kind}{i}/{zoom}X"
        for c in "bm"
        for kind in "af"
        for i in "12"
        for zoom in (40, 100)
    ]
    note = next(note for note in listed(tree(tmp_path / "x", *folders), False).notes if "have sub-folders" in note)
    assert "'{label}/*/*/{group}/**/*'" in note


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_class_folders_of_arrays_are_named(tmp_path: Path, packed: bool) -> None:
    texts(tmp_path / "pics", "a/0.npy", "b/0.npy", text="x")
    with pytest.raises(UserError, match=r"\.npy is not read: save images and labels as arrays"):
        zipped(tmp_path / "pics") if packed else listed(tmp_path / "pics", False)


@pytest.mark.parametrize("top", ["", "set/scans/"], ids=["", "around"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_an_advised_layout_reads_the_groups_below_folders_around_the_classes(
    tmp_path: Path, top: str, packed: bool
) -> None:
    """The layout names the first folders of which a class has several, and passes through the folders around all."""
    root = tree(tmp_path / "x", *(f"{top}{c}/SOB/type/{c}-{i}/40X" for c in ("ill", "well") for i in range(3)))
    note = next(note for note in listed(root, packed).notes if "classes have sub-folders" in note)
    assert "'{label}/*/*/{group}/**/*'" in note
    listing = listed(root, packed, layout="{label}/*/*/{group}/**/*")
    assert listing.classes == ("ill", "well") and not listing.bad
    assert sorted(set(listing.groups)) == [f"{c}-{i}" for c in ("ill", "well") for i in range(3)]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_an_advised_layout_of_patients_below_a_folder_around_the_classes(tmp_path: Path, packed: bool) -> None:
    root = tree(tmp_path / "x", *(f"set/{c}/patient{i}" for c in ("ill", "well") for i in range(4)))
    with pytest.raises(UserError, match="look like groups") as caught:
        listed(root, packed)
    listing = listed(root, packed, **advised(str(caught.value)))
    assert listing.counts() == {"ill": 8, "well": 8} and set(listing.groups) == {f"patient{i}" for i in range(4)}


def test_labels_in_json_beside_a_single_folder_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", "set/images")
    assert as_either(root).classes == ("images",)
    (root / "set" / "coco.json").write_text("{}")
    with pytest.raises(UserError, match=r"in the folder 'images', .*; write the labels in coco\.json as a table"):
        as_either(root)


@pytest.mark.parametrize("name", ["patient0000{}", "subj{}", "{}/study1"])
def test_class_folders_called_as_patients_are_noted(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path, *(name.format(i) for i in range(5)))
    notes = " ".join(sources.listing(source("folder", path=root)).notes)
    assert ("called as groups are" in notes) == ("{}/" not in name)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_test_without_classes_and_masks_beside_a_split_say_what_to_leave_out(tmp_path: Path, packed: bool) -> None:
    split = [f"{s}/{c}" for s in ("train", "val") for c in "ab"]
    with pytest.raises(UserError, match="fold0, fold1") as caught:
        listed(tree(tmp_path / "folds", *(f"fold{i}/{one}" for i in range(2) for one in split)), packed)
    folds = listed(tmp_path / "folds", packed, **advised(str(caught.value)))
    assert folds.classes == ("a", "b") and folds.splits is not None and set(folds.splits) == {"train", "val"}
    for at, more in enumerate(("test", "ground_truth/a")):
        root = tree(tmp_path / str(at), *split, *(["test/a"] if at else []), more)
        with pytest.raises(UserError) as caught:
            listed(root, packed)
        listing = listed(root, packed, **advised(str(caught.value)))
        assert listing.classes == ("a", "b") and not listing.bad


# Layouts of public sets: folders of pictures, other files, and what is read or said.
PUBLIC = {
    "Stanford Cars": (("cars_train", "cars_test"), {}, "which by their names are a split, and no"),
    "Market-1501": (("bounding_box_train", "bounding_box_test", "query"), {}, "which by their names are a split, and"),
    "GTSRB": (("Train/0", "Train/1", "Test", "Meta"), {}, r'Meta: leave these .*exclude=\["\*Meta/\*"\]'),
    "PlantVillage": (
        ("color/a", "color/b", "segmented/a", "segmented/b"),
        {},
        r'versions of .* set \'source.include=\["\*color/\*"\]',
    ),
    "RVL-CDIP": (
        ("images/imagesa/a", "images/imagesb/b"),
        {"labels/train.txt": "imagesa/a/0.png 0\nimagesb/b/0.png 1\nimagesb/b/1.png 0\n"},
        r"labels/train\.txt names the pictures .*its labels differ .*root=\S+ --set source.columns.path=path",
    ),
    "CelebA": (
        ("img_align_celeba",),
        {
            "list_attr_celeba.txt": "2\nMale Smiling\n0.png 1 -1\n1.png -1 1\n",
            "list_eval_partition.txt": "0.png 0\n1.png 1\n",
        },
        r"list_attr_celeba\.txt names the pictures",
    ),
    "FGVC-Aircraft": (("data/images",), {"data/images_variant_train.txt": "0 707-320\n"}, "is of FGVC-Aircraft: set"),
    "AffectNet": (
        ("Manually_Annotated/7", "Manually_Annotated/103"),
        {
            "training.csv": "file,valence,expression\n"
            + "".join(f"{n}/{i}.png,.1,{i}\n" for n in (7, 103) for i in "01")
        },
        r"training\.csv names the pictures in its column 'file'",
    ),
    "MIMIC-CXR": (
        [f"p10/p{i}/s{i}{k}" for i in range(5) for k in "12"],
        {
            "meta.csv": "id,subject_id\n"
            + "".join(f"p{i}/s{i}{k}/{n}.png,p{i}\n" for i in range(5) for k in "12" for n in "01")
        },
        r"column 'subject_id' looks like groups, .* --set source\.columns\.group=subject_id\), or",
    ),
    "BCCD": (
        ("TRAIN/a", "TRAIN/b", "TEST/a", "TEST/b", "TEST_SIMPLE/a"),
        {},
        r'TEST_SIMPLE: leave these out with .*exclude=\["\*TEST_SIMPLE/\*"\]',
    ),
    "IDC": (
        [f"{8863 + 17 * i}/{c}" for i in range(10) for c in "01"],
        {},
        r"8863, 8880, .* look like groups, .* set source\.layout='\{group\}/\{label\}/\*\*/\*' if those",
    ),
    "OASIS": ((), {"a/0.nii.gz": "x", "b/0.nii.gz": "x"}, "0.nii.gz is a volume, which is not read: save its slices"),
    "pairs of files": (("",), {"data.json": "[]"}, r"it has none; write the labels in data\.json as a table"),
    "CIFAR-100": ((), {"cifar-100-python/file.txt~": "x", "cifar-100-python/train": "x"}, "is of CIFAR-100: set"),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_layouts_of_public_sets_that_hold_no_class_folders(tmp_path: Path, name: str) -> None:
    folders, files, message = PUBLIC[name]
    root = tree(tmp_path / "x", *folders)
    for path, text in files.items():
        texts(root, path, text=text)
    with pytest.raises(UserError, match=message):
        as_either(root)


def test_classes_two_folders_deep_have_a_layout_in_the_note(tmp_path: Path) -> None:
    """As in LC25000 and SUN397: what organ or letter the classes are of."""
    root = tree(tmp_path / "x", "set/lung/aca", "set/lung/scc", "set/colon/aca2", "set/colon/n")
    note = next(note for note in as_either(root).notes if "have sub-folders" in note)
    layout = re.search("if they are the classes, set source.layout='([^']*)'", note)
    assert layout and as_either(root, layout=layout[1]).classes == ("aca", "aca2", "n", "scc")


@pytest.mark.parametrize("name", ["{}-{}-{}", "{}_{:04d}_{}"])
def test_patients_behind_the_class_in_the_names_of_files(tmp_path: Path, name: str) -> None:
    """As in OCT2017, `CNV-1016042-1.jpeg`; and GTSRB's tracks, whose classes are numbers."""
    classes = ("CNV", "DME") if name[2] == "-" else ("0", "1")
    for i in range(48):
        save(tmp_path / "x" / classes[i // 24] / f"{name.format(classes[i // 24], 100 + i // 3, i)}.png", noise(i))
    (note,) = as_either(tmp_path / "x").notes
    layout = re.search("layout='([^']*)'", note)
    assert note.startswith("the names of 48 files begin as those of groups do")
    assert layout and len(set(as_either(tmp_path / "x", layout=layout[1]).groups)) == 16


def test_numbered_class_folders_with_few_pictures_are_noted(tmp_path: Path) -> None:
    """As PH2's: a folder for each lesion."""
    root = tree(tmp_path / "x", *(f"IMD{i:03d}" for i in range(12)))
    assert any("are numbered, such as 'IMD000', and have few" in note for note in as_either(root).notes)


def test_numbered_classes_with_a_split_inside_are_classes(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", *(f"{i}/{side}" for i in range(12) for side in ("train", "test")), n=1)
    assert len(as_either(root).classes) == 12


def test_both_eyes_of_a_patient_are_noted(tmp_path: Path) -> None:
    """As EyePACS': the classes of the two may differ."""
    for i in range(24):
        save(tmp_path / "x" / "ab"[i % 5 > 2] / f"{10 + i // 2}_{('left', 'right')[i % 2]}.png", noise(i))
    (note,) = as_either(tmp_path / "x").notes
    layout = re.search("layout='([^']*)'", note)
    assert layout and len(set(as_either(tmp_path / "x", layout=layout[1]).groups)) == 12
