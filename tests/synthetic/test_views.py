"""Tests of the nearest picture where shifted and mirrored pictures are the same."""

from __future__ import annotations

import numpy as np
import pytest
from embeddings import embedded
from scipy.spatial.distance import cdist

from augpipe.synthetic import views
from augpipe.synthetic.curation import Reference, copies
from augpipe.synthetic.fidelity import Compared, exchange, memorisation

MOVES = {
    "shifted": lambda x: np.roll(x, 1, 3),
    "mirrored": lambda x: x[..., ::-1],
    "mirrored and shifted": lambda x: np.roll(x[..., ::-1], (1, -1), (2, 3)),
}


def pictures(n: int, seed: int, size: int = 28, channels: int = 1) -> np.ndarray:
    """Strokes of random place and width on black, uint8 (n,channels,size,size)."""
    r = np.random.default_rng(seed)
    at = np.mgrid[:size, :size] / size
    centre, width = r.uniform(0.25, 0.75, (n, 4, 2, 1, 1)), r.uniform(0.04, 0.1, (n, 4, 1, 1))
    grey = np.exp(-((at - centre) ** 2).sum(2) / 2 / width**2).sum(1).clip(0, 1)
    return np.repeat((255 * grey).astype(np.uint8)[:, None], channels, 1)


def moved_by_hand(picture: np.ndarray, y: int, x: int) -> np.ndarray:
    """One (C,H,W) picture whose pixels come from (y, x) further on, or from the border."""
    h, w = picture.shape[1:]
    return picture[:, np.clip(np.arange(h) + y, 0, h - 1)][:, :, np.clip(np.arange(w) + x, 0, w - 1)]


@pytest.mark.parametrize(("size", "channels"), [(12, 3), (32, 1), (64, 1)])
def test_the_nearest_is_that_of_all_views_by_hand(size: int, channels: int) -> None:
    queries, points = pictures(6, 0, size, channels), pictures(9, 1, size, channels)

    def small(x: np.ndarray, side: int) -> np.ndarray:
        step = max(1, size // side) if x.shape[1] == size else x.shape[1] // side
        c, h = x.shape[:2]
        return x.reshape(c, h // step, step, h // step, step).mean((2, 4))

    flat = np.stack([small(small(p.astype(float), 32), 16).ravel() for p in points])
    of_views = []
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            for sign in (1, -1):
                view = [
                    small(moved_by_hand(small(q.astype(float), 32), y, x), 16)[..., ::sign].ravel() for q in queries
                ]
                of_views.append(cdist(view, flat))
    expected = np.min(of_views, 0)
    distance, row = views.nearest(queries, points, 4)
    np.testing.assert_allclose(distance, np.sort(expected)[:, :4], rtol=1e-4)
    np.testing.assert_array_equal(row, np.argsort(expected, 1)[:, :4])


@pytest.mark.parametrize("move", list(MOVES))
def test_copies_that_are_moved_a_little_are_found(move: str, monkeypatch) -> None:
    """5% of copies by p, and each of them by the check of curation and the fraction of near copies."""
    monkeypatch.setattr(exchange, "PERMUTATIONS", 99)
    train, held_out, made = (pictures(120, k) for k in range(3))
    made[:8] = MOVES[move](train[:8])
    # Features that know nothing.
    sets = [
        embedded(np.random.default_rng(k).normal(size=(120, 4)), images=x)
        for k, x in enumerate((held_out, made, train))
    ]
    c = Compared(*sets)
    assert memorisation.memorisation(c)["memorisation.p"] <= 0.05
    near = memorisation.near_copies(c)["memorisation.near_copies"]
    assert 8 / 120 <= near < 0.12
    passed = copies(Reference(sets[2], sets[0], 0.05), sets[1], sets[1]).keep
    assert not passed[:8].any() and passed[8:].mean() > 0.9
