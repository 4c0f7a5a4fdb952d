"""Pictures read again at their own size, and refused if they are not what was read before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import came, noise, save, source

from augpipe.core.errors import UserError
from augpipe.core.images import ImageSet
from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.originals import originals

OPTIONS = ImageOptions(size=16)


def folder(place: Path) -> ImageSet:
    """Wide, high and coloured pictures in two classes, of which every second is in the image set."""
    for i in range(8):
        shape = (40, 24, 3) if i == 3 else ((40, 24) if i % 2 else (20, 90))
        save(place / "pics" / "ab"[i // 4] / f"{i}.png", noise(i, *shape))
    taken = came("folder", place, OPTIONS, path=place / "pics")
    return taken.image_set().take(np.arange(1, 8, 2))


def test_pictures_have_their_own_size_and_the_channels_of_the_set(tmp_path: Path) -> None:
    images = folder(tmp_path)
    assert images.spec.channels == 3
    listed = sources.listing(source("folder", path=tmp_path / "pics"))
    found = list(originals(listed, images, OPTIONS))
    assert [picture.size for picture in found] == [(24, 40)] * 4
    assert {picture.mode for picture in found} == {"RGB"}
    assert np.array_equal(np.asarray(found[1]), noise(3, 40, 24, 3))
    assert np.array_equal(np.asarray(found[0])[:, :, 2], noise(1, 40, 24))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "the source has no picture 'a/3.png' any more"),
        (lambda path: save(path, noise(99, 40, 24)), "a/3.png was changed while the command ran"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot read a/3.png again: "),
    ],
)
def test_a_picture_that_is_another_one_now_is_named(change, message, tmp_path: Path) -> None:
    images = folder(tmp_path)
    change(tmp_path / "pics/a/3.png")
    listed = sources.listing(source("folder", path=tmp_path / "pics"))
    with pytest.raises(UserError, match=f"^{message}"):
        list(originals(listed, images, OPTIONS))
