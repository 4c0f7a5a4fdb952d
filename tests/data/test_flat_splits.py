"""Pictures without class folders: the class is in their names or in a file beside them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from advice import commands, printed, touched, typed

from augpipe.core.errors import UserError

CATS = [f"{name}.{i}.jpg" for name in ("cat", "dog") for i in range(4)]
PETS = [f"{breed}_{i}.jpg" for breed in ("pug", "great_dane") for i in range(4)]
# Pictures, and the counts of classes that the printed options read.
NAMES: dict[str, tuple[list[str], dict[str, int]]] = {
    "Dogs vs Cats": ([*(f"train/{name}" for name in CATS), "test1/1.jpg", "test1/2.jpg"], {"cat": 4, "dog": 4}),
    "Dogs vs Cats, one folder too high": (
        [*(f"set/train/{name}" for name in CATS), "set/test1/1.jpg"],
        {"cat": 4, "dog": 4},
    ),
    "Dogs vs Cats, each unpacked into its folder": (
        [*(f"train/train/{name}" for name in CATS), "test1/test1/1.jpg"],
        {"cat": 4, "dog": 4},
    ),
    "a split": ([f"{side}/{name}" for side in ("train", "test") for name in CATS], {"cat": 8, "dog": 8}),
    "a split with a word": (
        [f"{side}_images/{name}" for side in ("train", "test") for name in PETS] + ["more/1.jpg"],
        {"pug": 8, "great_dane": 8},
    ),
    "Oxford Pets": (
        [*(f"images/{name}" for name in PETS), *(f"annotations/trimaps/{name[:-3]}png" for name in PETS)],
        {"pug": 4, "great_dane": 4},
    ),
    "one folder": ([f"set/images/{name}" for name in PETS], {"pug": 4, "great_dane": 4}),
}


@pytest.mark.parametrize("case", NAMES)
def test_classes_in_the_names_of_files_are_read_by_the_printed_options(tmp_path: Path, case: str) -> None:
    paths, counts = NAMES[case]
    touched(tmp_path, *paths)
    if case == "one folder":
        (tmp_path / "set" / "list.txt").write_text("pug_0 1 1\npug_1 1 1\ngreat_dane_0 2 1\n")
    with pytest.raises(UserError) as caught:
        typed(tmp_path)
    options = printed(str(caught.value))
    at = next(n for n, option in enumerate(options) if option.startswith("source.layout"))
    images = typed(tmp_path, *options[: at + 1])
    assert images.counts() == counts and not images.bad
    if "split" in case:
        assert set(images.splits) == {"train", "test"}
    assert ("write a table with the columns path and label from it" in str(caught.value)) == (case == "one folder")


def test_numbers_as_names_have_no_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folders of classes in them: write a table") as caught:
        typed(touched(tmp_path, "train/1.png", "train/2.png", "test1/3.png", "test1/4.png"))
    assert printed(str(caught.value)) == ["source.layout={label}/**/*"]


def test_numbers_as_names_beside_masks_need_a_table(tmp_path: Path) -> None:
    """As KolektorSDD2's, whose class is whether the mask is empty."""
    paths = [f"{side}/{i}{end}.png" for side in ("train", "test") for i in range(4) for end in ("", "_GT")]
    with pytest.raises(UserError, match=r"it has none; write a table of the pictures without the 8 masks, such as "):
        typed(touched(tmp_path, *paths))


def rows(*names: str, labels: str = "ab", head: str = "image,label") -> str:
    return "\n".join([head, *(f"{name},{labels[n % len(labels)]}" for n, name in enumerate(names))])


IDS = [f"{n:x}a{n}" for n in range(12)]
# Pictures, tables, the one that is proposed, and words of the message.
TABLES: dict[str, tuple[list[str], dict[str, str], str, str]] = {
    "APTOS": (
        [*(f"train_images/{one}.png" for one in IDS[:8]), *(f"test_images/{one}.png" for one in IDS[8:])],
        {
            "train.csv": rows(*IDS[:8], labels="012", head="id_code,diagnosis"),
            "test.csv": "id_code\n" + "\n".join(IDS[8:]),
            "sample_submission.csv": rows(*IDS[8:], labels="0", head="id_code,diagnosis"),
        },
        "train.csv",
        "which by their names are a split, .*; the table ",
    ),
    "train.csv and test.csv": (
        [f"images/{one}.png" for one in IDS],
        {"train.csv": rows(*(f"{one}.png" for one in IDS[:8])), "test.csv": rows(*(f"{one}.png" for one in IDS[8:]))},
        "train.csv",
        "test.csv beside train.csv by name of other splits, and not used",
    ),
    "labels.csv and a test": (
        [f"{'test' if n > 7 else 'train'}/{one}.png" for n, one in enumerate(IDS)],
        {
            "a_test.csv": rows(*(f"{one}.png" for one in IDS[8:])),
            "labels.csv": rows(*(f"{one}.png" for one in IDS[:8])),
        },
        "labels.csv",
        "names the pictures in its column 'image'",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_the_table_of_train_is_proposed_and_its_command_reads_it(tmp_path: Path, case: str) -> None:
    paths, tables, name, words = TABLES[case]
    touched(tmp_path, *paths)
    for table, text in tables.items():
        (tmp_path / table).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        typed(tmp_path)
    path, *settings = commands(str(caught.value))[0]
    assert Path(path) == tmp_path / name
    images = typed(Path(path), *settings)
    assert (
        len(images) == 8
        and not images.bad
        and len(images.classes) == len({*tables[name].split("\n")[1][-1:]}) + (2 if case == "APTOS" else 1)
    )


def test_a_form_for_predictions_is_no_table_of_labels(tmp_path: Path) -> None:
    touched(tmp_path, *(f"train/{name}" for name in CATS), "test1/1.jpg", "test1/2.jpg")
    (tmp_path / "sampleSubmission.csv").write_text("id,label\n1,0\n2,0\n")
    with pytest.raises(UserError, match="no folders of classes in them: if names of files begin with the class"):
        typed(tmp_path)


@pytest.mark.parametrize("labels", ["xy", ""])
def test_labels_beside_a_val_without_class_folders(tmp_path: Path, labels: str) -> None:
    """As Tiny-ImageNet's; a list of the pictures alone has none."""
    touched(tmp_path, *(f"train/{c}/images/{c}_{i}.JPEG" for c in "xyz" for i in range(4)))
    touched(tmp_path, *(f"val/images/val_{i}.JPEG" for i in range(6)))
    lines = (f"val_{i}.JPEG" + (f"\t{labels[i % 2]}\t0\t0" if labels else "") for i in range(6))
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(lines))
    if not labels:
        assert any("6 images of val without a label" in note for note in typed(tmp_path).notes)
        return
    with pytest.raises(UserError, match=r"val_annotations\.txt may have labels of 6 pictures of val, which") as caught:
        typed(tmp_path)
    images = typed(tmp_path, *printed(str(caught.value)))
    assert images.counts() == {"x": 4, "y": 4, "z": 4}


@pytest.mark.parametrize("names", [("train.zip", "test.zip"), ("all of it.zip",), ("a/1.zip", "b/2.zip")])
def test_the_command_for_archives_in_a_folder_reads_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(tmp_path / "set" / name, "w") as archive:
            for path in ("x/1.png", "y/2.png"):
                archive.writestr(path, name)
    with pytest.raises(UserError, match=r"archives?: give ") as caught:
        typed(tmp_path / "set")
    path, *settings = commands(str(caught.value))[0]
    images: Any = typed(Path(path), *settings)
    assert images.classes == ("x", "y") and len(images) == 2 * len(names)
    assert (images.splits is not None) == ("train.zip" in names)
