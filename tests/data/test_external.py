"""The listing of images that were made elsewhere, and the messages on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import noise
from PIL import Image
from pydantic import TypeAdapter

from augpipe.core import marks
from augpipe.core.errors import UserError
from augpipe.core.options import ImageOptions
from augpipe.data.external import ExternalImages, group_notes
from augpipe.data.external_listing import external_listing
from augpipe.data.intake import take_in
from augpipe.data.sources import Source


def test_classes_are_matched_by_name_and_marks_are_expected(tmp_path: Path) -> None:
    for at, name in enumerate(("train/nine", "train/eight", "test/nine")):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(noise(at)).save(tmp_path / name / "1.png", pnginfo=marks.synthetic("sd", "0" * 64))
    source = TypeAdapter(Source).validate_python({"kind": "folder", "path": tmp_path, "layout": "{split}/{label}/*"})
    listing = external_listing("sd", source, ("one", "eight", "nine"))
    assert listing.counts() == {"one": 0, "eight": 1, "nine": 2} and listing.splits is None
    assert all(name.startswith("generators.sd/") for name in listing.ids)
    read = take_in(listing, ImageOptions(size=16, channels=1))
    assert ExternalImages(read, np.arange(3), {}).notes("sd") == ("sd: 3 pictures: marked as made by a trained model",)
    with pytest.raises(
        UserError, match=r"generators\.sd\.source: it has classes that the experiment lacks, eight; rename"
    ):
        external_listing("sd", source, ("one", "nine"))


def test_images_of_groups_of_val_and_test_are_refused(tmp_path: Path) -> None:
    """As patients of test. A group that train has too is divided already."""
    for name in ("a/p1_1", "a/p2_1", "b/p3_1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise(len(name))).save(tmp_path / f"{name}.png")
    source = TypeAdapter(Source).validate_python({"kind": "folder", "path": tmp_path, "layout": "{label}/{group}_*"})
    groups = external_listing("sd", source, ("a", "b")).groups
    assert groups is not None and groups.tolist() == ["p1", "p2", "p3"]
    sides = {name: np.array([at]) for at, name in enumerate(("train", "val", "test"))}
    for known, shared in ((["p1", "p2", "p9"], "'p2'"), (["p9", "", "p3"], "'p3'")):
        with pytest.raises(UserError, match=rf"^1 image of generators\.sd\.source of a group of val or .* {shared}"):
            group_notes("sd", groups, np.array(known, object), sides)
    assert group_notes("sd", groups, np.array(["p1", "p1", ""], object), sides) == ()
    assert group_notes("sd", None, groups, sides) == ()
    assert "is not known" in group_notes("sd", groups, None, sides)[0]
