"""Attributes of images in tables, arrays and layouts, and what cannot be one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pictures import noise, save, source

from augpipe.core.errors import UserError
from augpipe.core.store import load_images, load_table
from augpipe.data import sources
from augpipe.pipeline.cache import content
from augpipe.pipeline.context import Context
from augpipe.pipeline.experiment import build
from augpipe.pipeline.stages.prepare import prepare
from augpipe.pipeline.validate import check_listing

LABELS = ["cat", "dog"] * 6
SEX = ["f", "m", "m", ""] * 3
SITE = [1, 2, 3] * 4


def table(root: Path, **options: Any) -> sources.Listing:
    paths = [f"{i}.png" for i in range(12)]
    for i, path in enumerate(paths):
        save(root / path, noise(i))
    frame = pd.DataFrame({"path": paths, "label": LABELS, "sex": SEX, "site": SITE})
    frame.to_csv(root / "m.csv", index=False)
    return sources.listing(source("manifest", path=root / "m.csv", **options))


def arrays(root: Path, **options: Any) -> sources.Listing:
    images = noise(0, 12, 8, 8)
    labels = (np.array(LABELS) == "dog").astype(int)
    np.savez(root / "a.npz", images=images, labels=labels, sex=np.array(SEX), site=np.array(SITE))
    return sources.listing(source("arrays", path=root / "a.npz", **options))


def layout(root: Path, **options: Any) -> sources.Listing:
    for i, (label, sex, site) in enumerate(zip(LABELS, SEX, SITE, strict=True)):
        save(root / label / (sex or "none") / f"{site}_{i}.png", noise(i))
    template = "{label}/{sex}/{site-}_*"
    return sources.listing(source("folder", path=root, layout=template, **options))


@pytest.mark.parametrize("read", [table, arrays, layout])
def test_each_image_has_its_values(tmp_path: Path, read: Any) -> None:
    listed = read(tmp_path, attributes=["sex", "site"])
    missing = "none" if read is layout else ""
    pairs = zip(listed.labels, listed.attributes["sex"], listed.attributes["site"], strict=True)
    expected = [(int(a == "dog"), b or missing, str(c)) for a, b, c in zip(LABELS, SEX, SITE, strict=True)]
    assert sorted((int(a), b, c) for a, b, c in pairs) == sorted(expected)
    assert listed.groups is None and not any("sex" in note for note in listed.notes)
    part = sources.only(listed, listed.labels == 1)
    assert part.attributes["site"].tolist() == listed.attributes["site"][listed.labels == 1].tolist()


def test_without_attributes_nothing_is_read_as_one(tmp_path: Path) -> None:
    listed = table(tmp_path)
    assert listed.attributes == {} and any("not used" in note and "sex" in note for note in listed.notes)


def test_what_cannot_be_an_attribute(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown column in source\.attributes of .* 'sexx' \(did you mean 'sex'\?\)"):
        table(tmp_path, attributes=["sexx"])
    with pytest.raises(UserError, match=r"source\.attributes has the column of labels, 'label'"):
        table(tmp_path, attributes=["label"])
    with pytest.raises(
        UserError, match=r"unknown array in source\.attributes of .* 'age' .*; choose from images, labels"
    ):
        arrays(tmp_path, attributes=["age"])
    with pytest.raises(ValueError, match=r"has no field \{scanner\} of source.attributes"):
        source("folder", path=tmp_path, attributes=["scanner"], layout="{label}/*")
    with pytest.raises(UserError, match=r"source\.attributes are fields of source\.layout, which is not set"):
        sources.listing(source("folder", path=tmp_path, attributes=["scanner"]))
    with pytest.raises(ValueError, match="duplicate attribute 'sex'"):
        source("manifest", path=tmp_path / "m.csv", attributes=["sex", "sex"])


def test_an_attribute_has_a_few_values_and_one_set_of_test_images(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "name": "x",
        "arms": [{"name": "a"}],
        "baseline": "a",
        "split": {"val": 0.2, "test": 0.2},
        "source": {"kind": "manifest", "path": str(tmp_path / "m.csv"), "attributes": ["sex"]},
    }
    listed = table(tmp_path, attributes=["sex"])
    check_listing(build(values), listed)
    with pytest.raises(UserError, match="sex, need one set of test images, and resplit draws one for each seed"):
        check_listing(build({**values, "resplit": True}), listed)
    for single in (["x"] * 12, ["x", ""] * 6):
        other = replace(listed, attributes={"age": np.array(single, object)})
        message = "the attribute 'age' of the source has 1 value; source.attributes needs 2 to 20"
        with pytest.raises(UserError, match=message):
            check_listing(build(values), other)


def test_the_values_of_every_split_are_stored_and_no_training_depends_on_them(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "name": "x",
        "arms": [{"name": "a"}],
        "baseline": "a",
        "split": {"val": 0.25, "test": 0.25},
        "image": {"size": 16, "channels": 1},
        "source": {"kind": "arrays", "path": str(tmp_path / "a.npz"), "attributes": ["sex"]},
    }
    listed = arrays(tmp_path, attributes=["sex"])
    of_id = dict(zip(listed.ids, listed.attributes["sex"], strict=True))
    context = Context(root=tmp_path / "store", threads=1)
    prepared = prepare(context, build(values))
    assert prepared.attributes is not None
    table = load_table(prepared.attributes)
    for split in ("train", "val", "test"):
        rows, images = table[table.split == split], load_images(getattr(prepared.splits, split))
        assert rows["id"].tolist() == images.table["id"].tolist()
        assert rows["attribute sex"].tolist() == [of_id[one] for one in images.table["id"]]
    without = prepare(context, build({**values, "source": {**values["source"], "attributes": []}}))
    assert without.attributes is None and content(without) == content(prepared)
    assert without.intake.fingerprint != prepared.intake.fingerprint, "the scores are others"
