"""Near copies across train, val and test: counted or removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import came, noise, photographs, save
from PIL import Image

from augpipe.core.image_spec import ImageSpec
from augpipe.data.clean import part
from augpipe.data.facts import FactsBuffer
from augpipe.data.near_copies import near_copies
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.sources._pictures import read


def test_near_copies_are_taken_only_where_that_is_asked_for(tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_images

    photograph = load_sample_images().images[0]
    for i, (y, x) in enumerate((y, x) for y in range(0, 400, 60) for x in range(0, 560, 60)):
        save(tmp_path / "pics" / "ab"[i % 2] / f"{i}.png", photograph[y : y + 60, x : x + 60])
        if i < 20:
            save(tmp_path / "pics" / "ab"[i % 2] / f"{i}.jpg", photograph[y : y + 60, x : x + 60], quality=60)
    taken = came("folder", tmp_path, path=tmp_path / "pics")
    exact = part(taken, SplitOptions(), Policy(), np.random.default_rng(0))
    near = part(taken, SplitOptions(), Policy(duplicates="near"), np.random.default_rng(0))
    assert not exact.removed and 3 <= len(near.removed) <= 20
    for name, (_, reason) in near.removed.items():
        assert f"nearly equal to {name[:-3]}" in reason, (name, reason)


def test_near_copies_of_test_images_are_counted_not_removed(tmp_path: Path) -> None:
    """Of 11 test images: two mirrored, one as a JPEG file, and one equal, which is removed and not counted here."""
    pieces = [piece.resize((48, 48)) for piece in photographs() if np.std(piece.convert("L")) > 25]
    rng = np.random.default_rng(0)
    turned = rng.permutation(len(pieces))
    names = [f"{side}/{'ab'[i % 2]}/{i}.png" for i, side in enumerate(["train"] * 4 + ["val"] * 4)]
    names += [f"test/{'ab'[i % 2]}/{i}.png" for i in range(8, 19)]
    for name, at in zip(names, turned, strict=True):
        save(tmp_path / name, np.asarray(pieces[at]))
    first = [np.asarray(pieces[turned[at]]) for at in (8, 9, 10, 11)]
    save(tmp_path / "train/a/m0.png", first[0][:, ::-1])
    save(tmp_path / "val/b/m1.png", first[1][:, ::-1])
    save(tmp_path / "train/a/c.jpg", first[2], quality=70)
    save(tmp_path / "train/b/e.png", first[3])
    taken = came("folder", tmp_path, path=tmp_path)
    found = part(taken, SplitOptions(), Policy(), rng)
    assert list(found.removed) == ["train/b/e.png"]
    assert found.near is not None and found.near.count == {"val": 0, "test": 3}
    assert found.near.fraction["test"] == 3 / 11
    assert any(
        note.startswith("3 images of test nearly equal to one in train or val (27.3% of test)") for note in found.notes
    ), found.notes
    near = part(taken, SplitOptions(), Policy(duplicates="near"), rng)
    assert set(near.removed) == {f"train/{n}" for n in ("a/m0.png", "a/c.jpg", "b/e.png")} | {"val/b/m1.png"}
    assert not any("nearly equal" in note for note in near.notes)


def test_every_copy_of_a_set_that_was_augmented_before_its_split_is_removed(tmp_path: Path) -> None:
    """Equal, mirrored, turned and cropped copies of each test image in train, one mirrored in val."""
    pieces = [piece.resize((56, 56)) for piece in photographs() if np.std(piece.convert("L")) > 25]
    for i, piece in enumerate(pieces[:15]):
        label, pixels = "ab"[i % 2], np.asarray(piece)
        if i >= 10:  # pictures of their own
            save(tmp_path / ("train" if i < 13 else "val") / label / f"{i}.png", pixels)
            continue
        save(tmp_path / "test" / label / f"{i}.png", pixels)
        save(tmp_path / "train" / label / f"{i}-equal.png", pixels)
        save(tmp_path / "train" / label / f"{i}-mirror.png", pixels[:, ::-1])
        save(tmp_path / "train" / label / f"{i}-turn.png", np.rot90(pixels))
        save(tmp_path / "train" / label / f"{i}-crop.png", pixels[2:54, 3:55])
        if i == 0:
            save(tmp_path / "val" / label / f"{i}-mirror.png", pixels[:, ::-1])
    taken = came("folder", tmp_path, path=tmp_path)
    exact = part(taken, SplitOptions(), Policy(), np.random.default_rng(0))
    assert exact.near is not None and exact.near.fraction["test"] == 1.0
    assert exact.near.fraction["val"] <= 1 / 3
    assert any("10 images of test nearly equal" in n and "(100.0% of test)" in n for n in exact.notes)
    near = part(taken, SplitOptions(), Policy(duplicates="near"), np.random.default_rng(0))
    left = [taken.ids[row] for row in near.rows["train"] if "-" in taken.ids[row]]
    assert len(left) <= 2, left
    assert all("-" in name for name in near.removed)


def test_large_test_sets_are_searched_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the test images are mirror images of train, one in two is searched: the fraction is estimated."""
    pieces = [np.asarray(piece.resize((40, 40)).convert("L")) for piece in photographs()[:20]]
    for i, piece in enumerate(pieces):
        save(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", piece)
        save(tmp_path / f"val/{'ab'[i % 2]}/{i}.png", noise(100 + i, 40, 40))
        save(tmp_path / f"test/{'ab'[i % 2]}/{i}.png", piece[:, ::-1] if i % 4 < 2 else noise(i, 40, 40))
    taken = came("folder", tmp_path, path=tmp_path)
    rows = part(taken, SplitOptions(), Policy(), np.random.default_rng(0)).rows
    whole = near_copies(taken.facts, rows)
    monkeypatch.setattr("augpipe.data.near_copies.SEARCHED", 10)
    sample = near_copies(taken.facts, rows)
    assert 0.4 <= whole.fraction["test"] <= 0.5 and whole.searched["test"] == 20
    assert sample.searched["test"] == 10 and sample.fraction["test"] == sample.count["test"] / 10
    assert "of test, estimated from 10 of 20): `augpipe inspect`" in sample.notes(rows)[0]


def test_grey_copies_of_coloured_pictures() -> None:
    """Each of three test pictures in grey in train, the second mirrored; pictures of two colours are no copies."""
    pieces = [piece.resize((48, 48)) for piece in photographs() if np.std(piece.convert("L")) > 25][:8]
    coloured = [np.asarray(piece.convert("RGB")) // 2 + np.uint8([120, 60, 0]) for piece in pieces]
    grey = [np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")) for pixels in coloured[:3]]
    pictures = [*coloured, grey[0], grey[1][:, ::-1], grey[2], coloured[3][..., ::-1]]
    facts = FactsBuffer(len(pictures))
    for row, pixels in enumerate(pictures):
        facts.add(row, read(pixels, ImageSpec(16, 3), "fit", None))
    rows = {"train": np.r_[4:12], "val": np.r_[0:0], "test": np.r_[0:4]}
    near = near_copies(facts.facts(), rows, complete=True)
    assert near.count["test"] == 3 and near.groups[:3].tolist() == near.groups[8:11].tolist()
