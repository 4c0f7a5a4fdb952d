"""Tables and files of labels beside folders of pictures."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
from pictures import folders, ham, listed_as, noise, save, source, table

from augpipe.core.errors import UserError
from augpipe.data import sources
from augpipe.pipeline.experiment import build


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
    by_layout = listed_as(root, packed, layout="{label}/**/*")
    assert len(by_layout) == 24 and by_layout.groups is None
    (note,) = (note for note in by_layout.notes if "looks like groups" in note)
    assert "'patient'" in note and "pictures of one group may be in train and test" in note
    with_groups = listed_as(root, packed, layout="{label}/{group}.png")
    assert not any("looks like groups" in note for note in with_groups.notes)


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
