"""Arrays: names of other tools, the user's own split, and what would be passed over."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import came, noise, save, source
from sklearn.datasets import load_digits

from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.data import sources

N = 24
X, Y = noise(0, N, 8, 8), np.arange(N) % 3


def listed(folder: Path, arrays: dict[str, Any], **options: Any) -> sources.Listing:
    np.savez(folder / "a.npz", **arrays)
    return sources.listing(source("arrays", path=folder / "a.npz", **options))


def parts(*names: str) -> dict[str, Any]:
    """x_train, y_train, ... of equal thirds or halves; `groups_train` and `weights_train` are numbers."""
    n = len({name.split("_")[1] for name in names})
    rows = {name: np.array_split(np.arange(N), n) for name in names}
    order = list(dict.fromkeys(name.split("_")[1] for name in names))
    values = {"x": X, "y": Y, "groups": np.arange(N) // 2, "weights": np.ones(N)}
    return {name: values[name.split("_")[0]][rows[name][order.index(name.split("_")[1])]] for name in names}


TRAIN, TEST = ("x_train", "y_train"), ("x_test", "y_test")


@pytest.mark.parametrize("what", ["groups", "weights"])
def test_groups_of_one_split_only_are_not_dropped(tmp_path: Path, what: str) -> None:
    arrays = parts(*TRAIN, *TEST, f"{what}_train")
    message = rf"has {what}_train but not {what}_test: .*source\.ignore=\[{what}\]"
    with pytest.raises(UserError, match=message):
        listed(tmp_path, arrays)
    images = listed(tmp_path, arrays, ignore=[what])
    assert images.groups is None and images.weights is None


@pytest.mark.parametrize("patients", ["train", "all"])
def test_patients_of_one_split_or_in_one_array_are_not_passed_over(tmp_path: Path, patients: str) -> None:
    arrays = parts(*TRAIN, *TEST)
    numbers = np.arange(N) // 2
    arrays["patient_train" if patients == "train" else "patient"] = (
        numbers[: N // 2] if patients == "train" else numbers
    )
    message = r"array 'patient', which looks like groups, .*source\.groups=patient"
    with pytest.raises(UserError, match=message):
        listed(tmp_path, arrays)
    way_on = r'give every split its patient \(""' if patients == "train" else r"patient_train"
    with pytest.raises(UserError, match=way_on):
        listed(tmp_path, arrays, groups="patient")
    arrays |= {"patient_train": numbers[: N // 2], "patient_test": [""] * (N // 2)}
    images = listed(tmp_path, arrays, groups="patient")
    assert images.groups[:3].tolist() == ["0", "0", "1"] and len(set(images.groups)) == 18


def test_settings_of_the_other_kind_of_file_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(UserError, match=r"source\.labels=.*y\.npy is .*leave source\.labels out"):
        listed(tmp_path, {"images": X, "labels": Y}, labels=tmp_path / "y.npy")
    pair = {"path": tmp_path / "x.npy", "labels": tmp_path / "y.npy"}
    with pytest.raises(UserError, match=r"source\.groups=patient names an array of an \.npz"):
        sources.check(source("arrays", **pair, groups="patient"))
    # What a user points at: the advice is what makes it work.
    alone = sources.suggest(tmp_path / "x.npy")
    with pytest.raises(UserError, match=r"--set source\.labels=labels\.npy"):
        sources.check(source(**alone))
    both = sources.listing(source(**alone | {"labels": str(tmp_path / "y.npy")}))
    assert both.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("name", ["valid", "validation", "dev"])
def test_val_by_its_other_names(tmp_path: Path, name: str) -> None:
    arrays = parts(*TRAIN, f"x_{name}", f"y_{name}", *TEST)
    images = listed(tmp_path, arrays)
    assert images.splits.tolist() == ["train"] * 8 + ["val"] * 8 + ["test"] * 8
    assert not images.notes
    with pytest.raises(UserError, match=rf"has both x_val and x_{name}: only one can be val"):
        listed(tmp_path, arrays | {"x_val": X[:3], "y_val": Y[:3]})


def test_an_array_of_splits_is_the_split(tmp_path: Path) -> None:
    arrays = {"images": X, "labels": Y, "split": ["Train", "valid", "test"] * 8}
    images = listed(tmp_path, arrays)
    assert images.splits.tolist() == ["train", "val", "test"] * 8 and not images.notes
    merged = listed(tmp_path, arrays, official=False)
    assert merged.splits is None and any("split" in note for note in merged.notes)
    message = r"the array split of .* has the value '0': save one of train, .*source\.official=false"
    with pytest.raises(UserError, match=message):
        listed(tmp_path, arrays | {"split": Y})


@pytest.mark.parametrize(
    ("name", "values"), [("is_test", Y == 0), ("train_idx", np.arange(9)), ("fold", Y), ("subset", ["a", "b"] * 12)]
)
def test_an_array_that_divides_the_images_is_not_passed_over(tmp_path: Path, name: str, values: Sequence[Any]) -> None:
    arrays = {"images": X, "labels": Y, name: values}
    with pytest.raises(UserError, match=rf"array '{name}', which looks like the split"):
        listed(tmp_path, arrays)
    for options in ({"official": False}, {"ignore": [name]}):
        assert listed(tmp_path, arrays, **options).splits is None


@pytest.mark.parametrize(
    "names",
    [("data", "labels"), ("images", "targets"), ("image", "label"), ("X", "Y"), ("arr_0", "arr_1"), ("arr_1", "arr_0")],
    ids=" ".join,
)
def test_other_pairs_of_names_are_read_with_a_note(tmp_path: Path, names: tuple[str, str]) -> None:
    images = listed(tmp_path, dict(zip(names, (X, Y), strict=True)))
    assert images.labels.tolist() == Y.tolist()
    assert images.notes == (f"the arrays {names[0]} and {names[1]} are read as images and labels",)


def test_arrays_without_names_that_may_be_anything(tmp_path: Path) -> None:
    for arrays in ({"arr_0": X, "arr_1": Y[:5]}, {"arr_0": X, "arr_1": Y, "arr_2": X}):
        with pytest.raises(UserError, match=r"np\.savez\(path, images=\.\.\., labels=\.\.\.\)"):
            listed(tmp_path, arrays)
    with pytest.raises(UserError, match=r"save images\[\.\.\., :3\] to leave out the fourth"):
        listed(tmp_path, {"images": noise(0, N, 8, 8, 4), "labels": Y})
    with pytest.raises(UserError, match=r"Python objects; .*labels\.astype\(str\)"):
        listed(tmp_path, {"images": X, "labels": Y.astype(str).astype(object)})


def test_scikit_learns_digits_as_they_are_saved(tmp_path: Path) -> None:
    digits = load_digits()
    images = listed(tmp_path, dict(digits))
    assert images.labels.tolist() == digits.target.tolist()
    assert np.array_equal(next(images.fetch(np.array([5]))).pixels, digits.images[5])


@pytest.mark.parametrize("labels", [np.full(6, -1), np.full(6, np.nan), None])
def test_a_test_without_labels_is_left_out(tmp_path: Path, labels: NDArray[Any] | None) -> None:
    arrays = {"x_train": X[:18], "y_train": Y[:18], "x_test": X[18:]}
    images = listed(tmp_path, arrays if labels is None else {**arrays, "y_test": labels})
    assert len(images) == 18 and images.classes == ("0", "1", "2") and set(images.splits) == {"train"}
    assert images.notes[-1].startswith("6 images of test without a label")
    with pytest.raises(UserError, match="has no y_test"):
        listed(tmp_path, {**arrays, "truth_test": Y[18:]})  # perhaps its labels


def test_the_label_of_images_without_one(tmp_path: Path) -> None:
    labels = np.where(np.arange(N) < 6, -1, Y)
    message = r"6 images of .* label -1, .*--set 'source\.classes=\[\"0\", \"1\", \"2\"\]' leaves"
    with pytest.raises(UserError, match=message):
        listed(tmp_path, {"images": X, "labels": labels})
    images = listed(tmp_path, {"images": X, "labels": labels}, classes=["2", "0", "1"])
    assert images.classes == ("2", "0", "1") and images.ids[0] == "images/000006"
    assert images.labels.tolist() == ((Y[6:] + 1) % 3).tolist()
    assert images.notes == ("6 images of other classes left out",)
    with_unlabelled = listed(tmp_path, {"images": X, "labels": labels}, classes=["-1", "0", "1", "2"])
    assert with_unlabelled.counts()["-1"] == 6
    named = {"images": X, "labels": labels, "class_names": ["a", "b", "c"]}
    with pytest.raises(UserError, match=r'source\.classes=\["a", "b", "c"\]'):
        listed(tmp_path, named)
    assert listed(tmp_path, named, classes=["c", "a"]).counts() == {"c": 6, "a": 6}
    # -1 and 1 are the two classes of some sets.
    assert listed(tmp_path, {"images": X, "labels": np.tile([-1, 1], 12)}).classes == ("-1", "1")


FEW = np.arange(N) // 4  # few images of each patient


@pytest.mark.parametrize("gap", [False, True])
def test_patients_of_arrays_as_floats_and_objects_are_not_passed_over(tmp_path: Path, gap: bool) -> None:
    """A gap makes pandas' numbers floats; its text is an array of objects."""
    numbers = FEW.astype(float)
    if gap:
        numbers[:2] = np.nan
    arrays = {"images": X, "labels": Y, "patient_id": numbers}
    with pytest.raises(UserError, match=r"array 'patient_id', which looks like groups"):
        listed(tmp_path, arrays)
    images = listed(tmp_path, arrays, groups="patient_id")
    assert images.groups.tolist()[2:] == [str(i) for i in FEW][2:]
    assert any(note.startswith("2 images of") for note in images.notes) == gap
    arrays["patient_id"] = FEW.astype(str).astype(object)
    with pytest.raises(UserError, match=r"'patient_id' of .* Python objects; .*or set .source\.ignore"):
        listed(tmp_path, arrays)
    assert listed(tmp_path, arrays, ignore=["patient_id"]).groups is None
    assert listed(tmp_path, arrays | {"patient_id": FEW + 0.5}).groups is None


def test_patients_in_a_field_of_an_array_are_not_passed_over(tmp_path: Path) -> None:
    rows = [(i / 7, f"p{one}") for i, one in enumerate(FEW)]
    meta = np.array(rows, [("score", "f8"), ("patient", "U4")])
    arrays = {"images": X, "labels": Y, "meta": meta}
    with pytest.raises(UserError, match=r"'meta\.patient', which looks .*source\.groups=meta\.patient"):
        listed(tmp_path, arrays)
    images = listed(tmp_path, arrays, groups="meta.patient")
    assert images.groups.tolist() == [f"p{one}" for one in FEW]
    assert listed(tmp_path, arrays, ignore=["meta.patient"]).groups is None
    with pytest.raises(UserError, match=r"unknown array in source\.groups of .* 'meta\.doctor'"):
        listed(tmp_path, arrays, groups="meta.doctor")


def test_one_group_in_two_spellings_is_one(tmp_path: Path) -> None:
    """12 and 12.0 in two splits, spaces around a name; also in tables."""
    arrays = parts(*TRAIN, "groups_train", *TEST, "groups_test")
    arrays |= {"groups_train": FEW[:12] % 2, "groups_test": FEW[12:].astype(float) % 2}
    assert set(listed(tmp_path, arrays).groups) == {"0", "1"}
    names = np.array([f"p{i}{' ' * (k % 2)}" for k, i in enumerate(FEW)])
    assert len(set(listed(tmp_path, {"images": X, "labels": Y, "groups": names}).groups)) == 6
    for i in range(4):
        save(tmp_path / f"{i}.png", noise(i))
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{'3.0' if i < 2 else '3'}\n" for i in range(4))
    (tmp_path / "m.csv").write_text(f"path,label,group\n{rows}")
    assert set(sources.listing(source("manifest", path=tmp_path / "m.csv")).groups) == {"3"}


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


def test_labels_in_a_file_of_their_own_are_named(tmp_path: Path) -> None:
    """As KMNIST's."""
    for split in ("train", "test"):
        np.savez(tmp_path / f"kmnist-{split}-imgs.npz", noise(0, 5, 8, 8))
        np.savez(tmp_path / f"kmnist-{split}-labels.npz", np.arange(5))
    with pytest.raises(UserError, match=r"it has arr_0: .*; if kmnist-train-labels\.npz has the labels, load both"):
        sources.listing(source("arrays", path=tmp_path / "kmnist-train-imgs.npz"))
