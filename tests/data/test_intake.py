from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import came, folders, noise, save, source, why

from augpipe.core.options import ImageOptions
from augpipe.data import intake, sources
from augpipe.data.intake import take_in
from augpipe.data.options import Policy


def test_good_rows_stand_together_whatever_was_bad_between_them(tmp_path: Path) -> None:
    root = folders(tmp_path / "pics", 40)
    for name in ("a/003.png", "a/039.png", "b/000.png"):
        (root / name).write_bytes(b"x")
    taken = came("folder", tmp_path, policy=Policy(), path=root)
    made = taken.image_set()
    assert sorted(why(taken)) == ["a/003.png", "a/039.png", "b/000.png"] and len(made) == 77
    for row, name in enumerate(made.table["id"]):
        c, i = name[0], int(name[2:5])
        assert np.array_equal(made.images[row, 0], noise(1000 * "ab".index(c) + i))
        assert made.classes[made.labels[row]] == c


def test_big_pictures_are_read_by_threads_in_the_same_order(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(intake, "cores", lambda: 3)
    for c in "ab":
        for i in range(9):
            save(tmp_path / "pics" / c / f"{i}.png", noise(i + 100 * ord(c), 200, 180))
    (tmp_path / "pics" / "a" / "4.png").write_bytes(b"x")
    one = came("folder", tmp_path / "1", path=tmp_path / "pics")
    monkeypatch.setattr(intake, "BIG", 10**9)
    two = came("folder", tmp_path / "2", path=tmp_path / "pics")
    assert len(one.rows) == 17 and one.ids == two.ids
    assert np.array_equal(one.images, two.images) and one.fingerprint() == two.fingerprint()


def test_the_fingerprint_follows_what_the_images_are_not_where_they_lie(tmp_path: Path) -> None:
    one = came("folder", tmp_path / "1", path=folders(tmp_path / "x", 4))
    two = came("folder", tmp_path / "2", ImageOptions(size=24), path=folders(tmp_path / "y", 4))
    assert one.fingerprint() == two.fingerprint()
    pixels = noise(3)
    pixels[0, 0] ^= 1
    save(tmp_path / "y" / "a" / "003.png", pixels)
    assert came("folder", tmp_path / "3", path=tmp_path / "y").fingerprint() != one.fingerprint()
    (tmp_path / "x" / "a" / "000.png").rename(tmp_path / "x" / "b" / "900.png")
    assert came("folder", tmp_path / "4", path=tmp_path / "x").fingerprint() != one.fingerprint()


def test_equal_pixels_have_equal_contents_whatever_the_file(tmp_path: Path) -> None:
    for i, suffix in enumerate((".png", ".bmp", ".pgm", ".tiff")):
        save(tmp_path / "pics" / "ab"[i % 2] / f"x{suffix}", noise(1))
    save(tmp_path / "pics" / "a" / "y.png", noise(1).reshape(8, 32))  # the same bytes in another shape
    found = came("folder", tmp_path, ImageOptions(size=16), path=tmp_path / "pics")
    assert len(set(found.facts.content.tolist())) == 2


def test_facts_alone_keep_no_images(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    listed = sources.listing(source("folder", path=folders(tmp_path, 6)))
    taken = take_in(listed, ImageOptions(), progress=lambda done, total: seen.append((done, total)))
    assert taken.images is None and taken.facts.thumbs.shape == (12, 32, 32) and seen[-1] == (12, 12)
    with pytest.raises(ValueError, match="were not stored"):
        taken.image_set()
