from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import maximum_mean_discrepancy

from augpipe import fidelity
from augpipe.features import Embedded


def embedded(vectors: np.ndarray, labels: np.ndarray | None = None, wrong: float = 0.0) -> Embedded:
    labels = np.zeros(len(vectors), np.int64) if labels is None else labels
    predicted = labels.copy()
    predicted[: round(wrong * len(labels))] += 1
    return Embedded(vectors.astype(np.float32), predicted, labels)


def gauss(n: int, d: int, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d)).astype(np.float32)


class Passes(torch.nn.Module):
    """torchmetrics' hook for features of one's own: hands them through."""

    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_fid_is_torchmetrics() -> None:
    x, y = gauss(200, 6), gauss(150, 6, 0.7, 1.4, seed=1)
    theirs = FrechetInceptionDistance(feature=Passes(), normalize=True)
    theirs.set_dtype(torch.float64)
    theirs.update(torch.from_numpy(x).double(), real=True)
    theirs.update(torch.from_numpy(y).double(), real=False)
    assert fidelity.fid(embedded(x), embedded(y)) == pytest.approx(
        float(theirs.compute()), rel=1e-3
    )


def test_fid_of_gaussians_is_its_closed_form() -> None:
    # |mu|² + sum (1 - s)² for N(0, I) against N(mu, s² I).
    x, y = gauss(60_000, 3), gauss(60_000, 3, 0.5, 2.0, seed=1)
    assert fidelity.fid(embedded(x), embedded(y)) == pytest.approx(3 * 0.25 + 3 * 1.0, rel=0.03)


def test_fid_survives_fewer_images_than_features() -> None:
    x = gauss(20, 64)
    assert fidelity.fid(embedded(x), embedded(x)) == pytest.approx(0, abs=1e-3)


def test_kid_is_torchmetrics() -> None:
    x, y = gauss(80, 6), gauss(80, 6, 0.4, seed=1)
    kernel = [
        torch.from_numpy((a.astype(np.float64) @ b.T.astype(np.float64) / 6 + 1) ** 3)
        for a, b in ((x, x), (x, y), (y, y))
    ]
    expected = float(maximum_mean_discrepancy(kernel[0], kernel[1], kernel[2]))
    assert fidelity.kid(embedded(x), embedded(y)) == pytest.approx(expected, rel=1e-4)


def test_kid_is_unbiased() -> None:
    values = [
        fidelity.kid(embedded(gauss(30, 4, seed=2 * s)), embedded(gauss(30, 4, seed=2 * s + 1)))
        for s in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


def test_precision_and_recall_tell_a_dropped_mode_from_an_invented_one() -> None:
    two = np.concatenate([gauss(100, 4, 0), gauss(100, 4, 30, seed=1)])
    one = gauss(100, 4, 0, seed=2)
    assert fidelity.precision(embedded(two), embedded(one)) > 0.8
    assert fidelity.recall(embedded(two), embedded(one)) == pytest.approx(0.5, abs=0.1)
    assert fidelity.precision(embedded(one), embedded(two)) == pytest.approx(0.5, abs=0.1)
    assert fidelity.recall(embedded(one), embedded(two)) > 0.8


def test_precision_against_the_definition() -> None:
    real, made = gauss(25, 3), gauss(17, 3, 0.3, seed=1)
    inside = 0
    for s in made:
        for i, r in enumerate(real):
            others = sorted(np.linalg.norm(np.delete(real, i, 0) - r, axis=1))
            if np.linalg.norm(s - r) <= others[fidelity.NEIGHBOURS - 1]:
                inside += 1
                break
    assert fidelity.precision(embedded(real), embedded(made)) == pytest.approx(inside / 17)


def test_table_says_what_it_stands_on_and_refuses_too_few() -> None:
    labels = np.repeat([0, 1], [20, 3])
    real = embedded(gauss(23, 4), labels)
    made = embedded(gauss(40, 4, seed=1), np.repeat([0, 1], 20), wrong=0.25)
    table = fidelity.measure(real, made, ("a", "b")).set_index(["class", "metric"])["value"]
    assert table["", "agreement"] == pytest.approx(0.75)
    assert table["a", "agreement"] == pytest.approx(0.5)
    assert (
        table["a", "n_real"] == 20 and table["b", "n_real"] == 3 and table["b", "n_synthetic"] == 20
    )
    assert np.isnan(table["b", "kid"]) and np.isfinite(table["a", "kid"])


def test_class_kid_sees_swapped_classes() -> None:
    real = embedded(np.concatenate([gauss(30, 4), gauss(30, 4, 5, seed=1)]), np.repeat([0, 1], 30))
    good = embedded(
        np.concatenate([gauss(30, 4, seed=2), gauss(30, 4, 5, seed=3)]), np.repeat([0, 1], 30)
    )
    swapped = Embedded(good.vectors, good.predicted, 1 - good.labels)
    assert fidelity.kid(real, swapped) == pytest.approx(fidelity.kid(real, good))
    assert fidelity.class_kid(real, swapped) > 100 * abs(fidelity.class_kid(real, good))


def test_a_class_with_one_real_image_still_orders_generators() -> None:
    real = embedded(
        np.concatenate([gauss(1, 4), gauss(30, 4, 5, seed=1)]), np.repeat([0, 1], [1, 30])
    )
    near = embedded(
        np.concatenate([gauss(20, 4, seed=2), gauss(20, 4, 5, seed=3)]), np.repeat([0, 1], 20)
    )
    far = embedded(
        np.concatenate([gauss(20, 4, 9, seed=2), gauss(20, 4, 5, seed=3)]), np.repeat([0, 1], 20)
    )
    assert fidelity.class_kid(real, near) < fidelity.class_kid(real, far)


def test_neighbours_are_sought_in_blocks() -> None:
    """30,000 points against 2,000 centres of 64 features: 31 GB at once, some 16 MB a block."""
    import tracemalloc

    centres, points = gauss(2000, 64), gauss(30_000, 64, seed=1)
    tracemalloc.start()
    fidelity._covered(centres, points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
