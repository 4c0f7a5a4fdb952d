from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import came, noise, photographs, save

from augpipe.core.errors import UserError
from augpipe.data.clean import part
from augpipe.data.intake import Intake
from augpipe.data.listing_check import divided_groups
from augpipe.data.near_copies import near_copies
from augpipe.data.options import Policy, SplitOptions
from augpipe.data.split_check import NAMES


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 30), min_size=60, max_size=60), st.integers(0, 99), st.booleans())
def test_no_picture_stands_on_two_sides(tmp_path: Path, kinds: list[int], seed: int, by_group: bool) -> None:
    """Pictures of which many are equal, in groups that know nothing of it."""
    place = tmp_path / str(abs(hash((tuple(kinds), seed, by_group))))
    pixels = np.stack([noise(kind + (100 if row % 2 else 0)) for row, kind in enumerate(kinds)])
    place.mkdir()
    np.savez(
        place / "x.npz", images=pixels, labels=np.arange(60) % 2, **({"groups": np.arange(60) // 3} if by_group else {})
    )
    taken = came("arrays", place, path=place / "x.npz")
    try:
        found = part(taken, SplitOptions(seed=seed), Policy(), np.random.default_rng(seed))
    except ValueError as error:
        assert "has no image left in" in str(error)
        return
    contents = {name: set(taken.facts.content[rows].tolist()) for name, rows in found.rows.items()}
    assert not contents["train"] & contents["val"]
    assert not contents["train"] & contents["test"] and not contents["val"] & contents["test"]
    kept = np.concatenate([found.rows[name] for name in NAMES])
    assert len(set(kept.tolist())) == len(kept) == 60 - len(found.removed)
    whole = part(taken, SplitOptions(seed=seed), Policy(duplicates="keep"), np.random.default_rng(seed))
    assert np.array_equal(found.rows["test"], whole.rows["test"])  # test is never touched
    if by_group:
        assert divided_groups(taken.groups, found.rows) == 0 and found.kind == "grouped"


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


def test_each_picture_once(tmp_path: Path) -> None:
    pixels = np.stack([noise(row % 50) for row in range(100)])
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(100) % 2)
    taken = came("arrays", tmp_path, path=tmp_path / "x.npz")
    found = part(taken, SplitOptions(), Policy(duplicates="once"), np.random.default_rng(0))
    kept = np.concatenate([found.rows[name] for name in NAMES])
    assert len(kept) == 50 == len(set(taken.facts.content[kept].tolist()))
    assert len(found.removed) == 50


def torn(folder: Path) -> Intake:
    """Groups of six images, of which an official split divides two."""
    for i in range(30):
        save(folder / "img" / f"{i}.png", noise(i))
    table = pd.DataFrame(
        {
            "path": [f"img/{i}.png" for i in range(30)],
            "label": ["a", "b"] * 15,
            "group": [f"p{i // 6}" for i in range(30)],
            "split": ["train"] * 16 + ["val"] * 6 + ["test"] * 8,
        }
    )
    table.to_csv(folder / "m.csv", index=False)
    return came("manifest", folder, path=folder / "m.csv")


def test_groups_on_several_sides_stop_a_run_without_a_reason(tmp_path: Path) -> None:
    taken, rng = torn(tmp_path), np.random.default_rng(0)
    with pytest.raises(UserError, match=r"^2 groups divided between .* split.allow_torn_groups$"):
        part(taken, SplitOptions(), Policy(), rng)
    with pytest.raises(UserError, match="groups divided"):
        part(taken, SplitOptions(kind="stratified", allow_torn_groups=" "), Policy(), rng)
    allowed = SplitOptions(allow_torn_groups="the benchmark's own split")
    found = part(taken, allowed, Policy(), rng)
    assert found.kind == "official" and divided_groups(taken.groups, found.rows) == found.torn == 2
    note = "2 groups divided between train, val and test, allowed because: the benchmark's own split"
    assert note in found.notes


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


@pytest.mark.parametrize("kind", ["grouped", "k_fold"])
def test_a_kind_that_groups_leaves_none_torn(tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "x.npz", images=noise(0, 120, 12, 12), labels=np.arange(120) % 2, groups=np.arange(120) // 5)
    taken = came("arrays", tmp_path, path=tmp_path / "x.npz")
    found = part(taken, SplitOptions(kind=kind), Policy(), np.random.default_rng(0))
    assert divided_groups(taken.groups, found.rows) == 0
    n = len(found.rows["test"])
    small = f"{n} of {n} images of test are below 16 px and not searched for mirrored"
    assert [note for note in found.limits if note.startswith(small)] and not found.notes
