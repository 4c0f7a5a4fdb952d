"""A table of files as a source."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import came, ham, noise, save, source, table

from augpipe.core.errors import UserError
from augpipe.data import sources


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
    assert note.startswith("not used in the manifest") and note.endswith("age, image_id, patient")


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
