"""Pictures that a program hands over: every accepted form gives the same pixels, and other input is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pictures import noise, save
from PIL import Image

from augpipe.core.errors import UserError
from augpipe.data.picture_inputs import NAME_LENGTH, blobs_of
from augpipe.data.sources._pictures import decode


def grey(values: Any) -> list[np.ndarray]:
    """The pixels (H,W) of each picture, decoded as the intake decodes them."""
    return [np.asarray(decode(blob, None).pixels.convert("L")) for blob in blobs_of(values)[1]]


def test_every_form_of_a_picture_gives_the_same(tmp_path: Path) -> None:
    pixels = noise(0, 3, 1, 16, 16)
    paths = [save(tmp_path / f"{at}.png", one[0]) for at, one in enumerate(pixels)]
    files = [path.read_bytes() for path in paths]
    encoded = [base64.b64encode(file).decode() for file in files]
    colour = np.repeat(pixels.transpose(0, 2, 3, 1), 3, axis=3)
    forms: list[Any] = [
        pixels,
        pixels[:, 0],
        pixels.transpose(0, 2, 3, 1),
        colour,
        colour.transpose(0, 3, 1, 2),
        list(pixels),
        list(colour),
        pixels.tolist(),
        pixels.astype(np.int64),
        [Image.fromarray(one[0]) for one in pixels],
        paths,
        [str(path) for path in paths],
        np.array([str(path) for path in paths]),
        files,
        encoded,
        [f"data:image/png;base64,{text}" for text in encoded],
        [paths[0], encoded[1], pixels[2]],
        pd.Series(encoded),
        pd.DataFrame({"x": encoded}),
        pd.DataFrame({"id": [1, 2, 3], "image": list(pixels)}),
    ]
    for form in forms:
        assert np.array_equal(grey(form), pixels[:, 0])
    assert grey([]) == grey(pixels[:0]) == []
    assert np.array_equal(grey(str(paths[0])), pixels[0])


def test_names_are_those_of_files_and_of_long_texts_the_beginning() -> None:
    names, _ = blobs_of([np.zeros((4, 4), np.uint8), Path("a.png"), "b" * (NAME_LENGTH + 1)])
    assert names == ["picture 0", "picture 1 (a.png)", f"picture 2 ({'b' * NAME_LENGTH}...)"]


def test_what_is_no_picture() -> None:
    blobs = blobs_of(["gone.png", [[1, 2], [3]], None])[1]
    assert [str(blob) for blob in blobs] == [
        "neither a file nor a picture in base64",
        "a nested list whose rows differ in length",
        "not a picture: NoneType",
    ]
    for values, message in [
        (pd.DataFrame({"a": [1], "b": [2]}), "one column of pictures"),
        (np.zeros((16, 16)), r"array of shape \(16, 16\)"),
        (3, "expected pictures, got int"),
    ]:
        with pytest.raises(UserError, match=message):
            blobs_of(values)
