"""Neighbours against every pair compared: scipy's distances in float64, and scikit-learn's trees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import apart
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from augpipe.core import neighbours


def every_pair(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (queries, points))
    return cdist(a, b)


def items(kind: str, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "images":
        return rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    found = rng.normal(3, 2, (n, 12)).astype(np.float32)
    return np.asfortranarray(found) if kind == "columns" else found


@pytest.fixture(params=[(1024, 8192), (7, 5), (3, 100)], ids=["one block", "many", "of queries"])
def blocks(request, monkeypatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setattr(neighbours, "QUERIES", request.param[0])
    monkeypatch.setattr(neighbours, "POINTS", request.param[1])
    return request.param


@pytest.mark.parametrize("kind", ["vectors", "images", "columns"])
@pytest.mark.parametrize("k", [1, 4, 23])
def test_nearest_are_those_of_every_pair(blocks, kind: str, k: int) -> None:
    queries, points = items(kind, 31, 0), items(kind, 23, 1)
    pairs = every_pair(queries, points)
    distances, rows = neighbours.nearest(queries, points, k)
    assert distances.dtype == np.float32 and rows.dtype == np.int64
    np.testing.assert_array_equal(rows, pairs.argsort(1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(pairs, 1)[:, :k], rtol=1e-6)


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_no_item_is_its_own_neighbour(blocks, kind: str) -> None:
    own = items(kind, 29, 0)
    pairs = every_pair(own, own)
    np.fill_diagonal(pairs, np.inf)
    distances, rows = neighbours.nearest(own, own, 6, without_self=True)
    np.testing.assert_array_equal(rows, pairs.argsort(1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(pairs, 1)[:, :6], rtol=1e-6)
    np.testing.assert_allclose(neighbours.radii(own, 6), np.sort(pairs, 1)[:, 5], rtol=1e-6)


def test_nearest_are_scikit_learns(blocks) -> None:
    queries, points = items("vectors", 60, 0), items("vectors", 80, 1)
    theirs = NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(points).kneighbors(queries)
    ours = neighbours.nearest(queries, points, 5)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_array_equal(ours[1], theirs[1])


small_images = st.integers(1, 25).flatmap(lambda n: arrays(np.uint8, (n, 1, 2, 2)))


@settings(deadline=None, max_examples=80)
@given(small_images, small_images, st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_images_in_any_blocks(queries, points, of_queries, of_points, data) -> None:
    """Squared distances are whole numbers: equal ones are equal, and which of them is named is free."""
    k = data.draw(st.integers(1, len(points)))
    pairs = every_pair(queries, points)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "QUERIES", of_queries)
        patch.setattr(neighbours, "POINTS", of_points)
        distances, rows = neighbours.nearest(queries, points, k)
        held = neighbours.balls(queries, points, np.full(len(points), 100.01, np.float32))
    np.testing.assert_allclose(distances, np.sort(pairs, 1)[:, :k], rtol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(pairs, rows, 1), distances, rtol=1e-6)
    assert all(len(set(own)) == k for own in rows.tolist())
    np.testing.assert_array_equal(held, (pairs <= 100.01).sum(1))


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_balls_are_counted_as_by_every_pair(blocks, kind: str) -> None:
    queries, points = items(kind, 40, 0), items(kind, 33, 1)
    pairs = every_pair(queries, points)
    radius = np.random.default_rng(2).choice(pairs.ravel(), 33).astype(np.float32) + 1e-3
    found = neighbours.balls(queries, points, radius)
    np.testing.assert_array_equal(found, (pairs <= radius[None]).sum(1))
    assert 0 < found.mean() < 33


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_reach_is_the_largest_share_of_a_radius(blocks, kind: str) -> None:
    queries, points = items(kind, 40, 0), items(kind, 33, 1)
    radius = neighbours.radii(points, 3)
    expected = (radius[None] / every_pair(queries, points)).max(1)
    np.testing.assert_allclose(neighbours.reach(queries, points, radius), expected, rtol=1e-4)


def test_within_reach_is_within_a_ball() -> None:
    queries, points = items("vectors", 300, 0), items("vectors", 200, 1)
    radius = neighbours.radii(points, 3)
    inside = neighbours.balls(queries, points, radius) > 0
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(neighbours.reach(queries, points, radius) >= 1, inside)


def with_grey_level_off(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8, and the same with one pixel one grey level off."""
    own = np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8)
    nearly = own.copy()
    nearly[:, 0, 0, 0] ^= 1
    return own, nearly


SHAPES = pytest.mark.parametrize("shape", [(1, 8, 8), (3, 64, 64), (3, 178, 178)])


@SHAPES
def test_equal_images_are_no_distance_apart_and_a_grey_level_is_one(shape: tuple[int, ...]) -> None:
    own, nearly = with_grey_level_off(shape)
    np.testing.assert_array_equal(neighbours.nearest(own, own)[0], 0)
    np.testing.assert_array_equal(neighbours.nearest(own, nearly)[0], 1)
    distances, rows = neighbours.nearest(own, np.concatenate([nearly, own]), 2)
    np.testing.assert_array_equal(distances, np.tile([0, 1], (30, 1)))
    np.testing.assert_array_equal(rows, np.stack([np.arange(30) + 30, np.arange(30)], 1))


@SHAPES
def test_a_copy_is_nearer_than_one_a_grey_level_off(shape: tuple[int, ...]) -> None:
    own, nearly = with_grey_level_off(shape)
    distances, rows = neighbours.nearest(own, np.concatenate([nearly, own]))
    np.testing.assert_array_equal(distances, 0)
    np.testing.assert_array_equal(rows[:, 0], np.arange(30) + 30)


def test_twins_are_each_others_neighbours() -> None:
    once = items("vectors", 20, 0)
    distances, rows = neighbours.nearest(np.concatenate([once, once]), np.concatenate([once, once]), without_self=True)
    np.testing.assert_array_equal(distances, 0)
    np.testing.assert_array_equal(rows[:, 0], np.r_[20:40, 0:20])


@pytest.mark.parametrize("width", [4, 64, 2048])
@pytest.mark.parametrize("radius", [0.0, 1e-3])
def test_a_small_ball_holds_its_own_centre(width: int, radius: float) -> None:
    """As where real images are twins: their radius is 0, and what copies them is still inside."""
    own = np.random.default_rng(0).normal(5, 1, (200, width)).astype(np.float32)
    np.testing.assert_array_equal(neighbours.balls(own, own, np.full(200, radius, np.float32)), 1)


@pytest.mark.parametrize("kind", ["images", "vectors", "columns"])
@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_the_nearest_of_those_before(kind: str, n: int, blocks) -> None:
    own = items(kind, n, 0)
    found = neighbours.nearest_earlier(own)
    pairs = every_pair(own, own) if n else np.empty((0, 0))
    expected = [pairs[row, :row].min() if row else np.inf for row in range(n)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("apart", [0.0, 10.0, 1000.0])
def test_balls_of_tight_heaps_however_far_apart(apart: float, blocks) -> None:
    rng = np.random.default_rng(0)
    heaps = [rng.normal(size=(60, 16)) + apart * rng.normal(size=16) for _ in range(3)]
    own = np.concatenate(heaps).astype(np.float32)
    radius = neighbours.radii(own, 3)
    # The neighbour that sets a radius lies on its ball: rounding may count it or not.
    least, most = ((every_pair(own, own) <= radius * (1 + by)).sum(1) for by in (-1e-5, 1e-5))
    found = neighbours.balls(own, own, radius)
    assert (least <= found).all() and (found <= most).all() and most.max() > 3


def test_near_neighbours_far_from_all_others_are_told_apart() -> None:
    """Two tight heaps a thousand of their widths apart."""
    own = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    own[100:] += 1000
    pairs = every_pair(own, own)
    np.fill_diagonal(pairs, np.inf)
    np.testing.assert_array_equal(neighbours.nearest(own, own, without_self=True)[1][:, 0], pairs.argmin(1))


def test_one_item_far_from_all_costs_no_more_time() -> None:
    """As of a generator that now and then draws something else: all other pairs are as they were."""
    own = np.random.default_rng(0).normal(size=(1500, 256)).astype(np.float32)
    seconds = []
    for scale in (1, 300):
        own[0] *= scale
        radius = neighbours.radii(own, 3)
        begun = time.perf_counter()
        neighbours.balls(own, own, radius)
        seconds.append(time.perf_counter() - begun)
    assert seconds[1] < 10 * max(seconds[0], 0.1)


def test_more_neighbours_than_there_are_is_refused() -> None:
    own = items("vectors", 4, 0)
    with pytest.raises(ValueError, match="cannot find 5 neighbours among 4 points"):
        neighbours.nearest(own, own, 5)
    with pytest.raises(ValueError, match="cannot find 4 neighbours among 3 points"):
        neighbours.nearest(own, own, 4, without_self=True)
    with pytest.raises(ValueError, match="among 0 points"):
        neighbours.nearest(own, own[:0])
    assert neighbours.nearest(own, own, 3, without_self=True)[0].shape == (4, 3)


def test_no_queries_have_no_neighbours() -> None:
    own = items("images", 4, 0)
    distances, rows = neighbours.nearest(own[:0], own, 2)
    assert distances.shape == rows.shape == (0, 2)
    assert neighbours.balls(own[:0], own, np.ones(4, np.float32)).shape == (0,)


def test_what_lies_on_disk_is_only_read(tmp_path: Path) -> None:
    own = items("images", 20, 0)
    np.save(tmp_path / "images.npy", own)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for ours, theirs in zip(
        neighbours.nearest(mapped, mapped, 2, without_self=True),
        neighbours.nearest(own, own, 2, without_self=True),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_nearest_of_a_hundred_thousand_stand_in_little_memory() -> None:
    assert apart.growth(apart.nearest_of_many) < 1e9
