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
from augpipe.data.external import ExternalImages
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
