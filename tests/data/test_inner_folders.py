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
