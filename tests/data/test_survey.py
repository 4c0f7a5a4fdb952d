"""The size and channels chosen from a sample, and what is lost by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import came, noise, save, source

from augpipe.core.options import ImageOptions
from augpipe.data import sources
from augpipe.data.survey import SIZES, survey


@pytest.mark.parametrize(("side", "size"), [(9, 16), (17, 16), (30, 28), (64, 64), (300, 64)])
def test_the_size_follows_the_pictures(tmp_path: Path, side: int, size: int) -> None:
    for c in "ab":
        for i in range(3):
            save(tmp_path / c / f"{i}.png", noise(i, side, side + 7))
    found = survey(sources.listing(source("folder", path=tmp_path)), ImageOptions())
    assert (found.spec.size, found.spec.channels) == (size, 1) and size in SIZES
    assert found.counts == {"a": 3, "b": 3} and found.about == f"median short side {side} px, grey"
    asked = survey(sources.listing(source("folder", path=tmp_path)), ImageOptions(size=40, channels=3))
    assert (asked.spec.size, asked.spec.channels) == (40, 3)


@pytest.mark.parametrize(
    ("side", "size", "loss"),
    [
        (
            512,
            None,
            "reduced 8 times to 64 px, and finer detail is lost; image.size=256 keeps more and takes about 16 times as "
            "long",
        ),
        (
            105,
            28,
            "reduced 3.8 times to 28 px, and finer detail is lost; image.size=96 keeps more and takes about 12 times "
            "as long",
        ),
        (512, 256, "reduced 2 times to 256 px, and finer detail is lost"),
        (64, None, ""),
        (90, 64, ""),
    ],
)
def test_what_is_lost_by_smaller_images_is_named(side: int, size: int | None, loss: str, tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "pics" / "ab"[i % 2] / f"{i}.png", noise(i, side, side))
    taken = came("folder", tmp_path, ImageOptions(size=size), path=tmp_path / "pics")
    found = [note for note in taken.notes if "detail is lost" in note]
    assert found == ([f"pictures are {loss}"] if loss else [])


@pytest.mark.parametrize(
    ("sizes", "note"),
    [
        (
            [(16, 16), (16, 16), (48, 48)] * 4,
            "33% of the pictures are reduced 1.5 times or more to 16 px, and finer detail is lost; image.size=48 keeps",
        ),
        ([(16, 16), (48, 48), (16, 16), (16, 16)] * 3, "25% of the pictures (class b: 50%) are"),
        ([(16, 16), (48, 48)] + [(16, 16), (16, 16)] * 9, "5% of the pictures are"),
        ([(16, 16)] * 3 + [(40, 40)] + [(16, 16)] * 30, None),
        ([(160, 16)] * 4, "100% of the pictures are reduced 1.5 times or more to 16 px"),
        ([(16, 20)] * 4, None),
    ],
    ids=str,
)
def test_some_pictures_that_lose_detail_are_named(
    sizes: list[tuple[int, int]], note: str | None, tmp_path: Path
) -> None:
    for i, (height, width) in enumerate(sizes):
        save(tmp_path / "pics" / "ab"[i % 2] / f"{i:02}.png", noise(i, height, width))
    found = survey(sources.listing(source("folder", path=tmp_path / "pics")), ImageOptions())
    assert (note in found.loss) if note else not found.loss, found.loss
