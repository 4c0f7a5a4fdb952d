from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import came, noise

from augpipe.data.clean import part
from augpipe.data.listing_check import divided_groups
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


def test_each_picture_once(tmp_path: Path) -> None:
    pixels = np.stack([noise(row % 50) for row in range(100)])
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(100) % 2)
    taken = came("arrays", tmp_path, path=tmp_path / "x.npz")
    found = part(taken, SplitOptions(), Policy(duplicates="once"), np.random.default_rng(0))
    kept = np.concatenate([found.rows[name] for name in NAMES])
    assert len(kept) == 50 == len(set(taken.facts.content[kept].tolist()))
    assert len(found.removed) == 50


@pytest.mark.parametrize("kind", ["grouped", "k_fold"])
def test_a_kind_that_groups_leaves_none_torn(tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "x.npz", images=noise(0, 120, 12, 12), labels=np.arange(120) % 2, groups=np.arange(120) // 5)
    taken = came("arrays", tmp_path, path=tmp_path / "x.npz")
    found = part(taken, SplitOptions(kind=kind), Policy(), np.random.default_rng(0))
    assert divided_groups(taken.groups, found.rows) == 0
    n = len(found.rows["test"])
    small = f"{n} of {n} images of test are below 16 px and not searched for mirrored"
    assert [note for note in found.limits if note.startswith(small)] and not found.notes
