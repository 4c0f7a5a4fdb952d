"""FID, KID and sliced Wasserstein distances against their definitions and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from embeddings import Passes, double, embedded, gauss, sides
from scipy.stats import wasserstein_distance
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from augpipe.synthetic import fidelity
from augpipe.synthetic.fidelity import Compared, distances


def test_fid_is_torchmetrics() -> None:
    x, y, c = sides(200, 150, shift=0.7, scale=1.4)
    theirs = FrechetInceptionDistance(feature=Passes(), normalize=True)
    theirs.set_dtype(torch.float64)
    theirs.update(double(x), real=True)
    theirs.update(double(y), real=False)
    assert distances.fid(c) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("d", [2, 6, 40])
def test_fid_is_torch_fidelitys(d: int) -> None:
    x, y, c = sides(120, 90, d, shift=0.3, scale=1.7)
    stats = [fid_features_to_statistics(double(v)) for v in (x, y)]
    expected = fid_statistics_to_metric(*stats, False)["frechet_inception_distance"]
    assert distances.fid(c) == pytest.approx(expected, rel=1e-6)


def test_fid_of_gaussians_is_its_closed_form() -> None:
    # |mu|² + sum (1 - s)² for N(0, I) against N(mu, s² I).
    x, y = gauss(60_000, 3), gauss(60_000, 3, 0.5, 2.0, seed=1)
    c = Compared(
        embedded(x, images=np.zeros((60_000, 1, 1, 1), np.uint8)),
        embedded(y, images=np.zeros((60_000, 1, 1, 1), np.uint8)),
    )
    assert distances.fid(c) == pytest.approx(3 * 0.25 + 3 * 1.0, rel=0.03)


def test_fid_survives_fewer_images_than_features() -> None:
    x = embedded(gauss(60, 200))
    assert distances.fid(Compared(x, x)) == pytest.approx(0, abs=1e-3)


def test_kid_is_torchmetrics() -> None:
    x, y, c = sides(80, 80)
    expected = float(poly_mmd(double(x), double(y), degree=3, gamma=None, coef=1.0))
    assert distances.kid(c.real, c.synthetic) == pytest.approx(expected, rel=1e-9)


def test_kid_is_torch_fidelitys() -> None:
    x, y, c = sides(90, 90, d=24)
    theirs = kid_features_to_metric(double(x), double(y), kid_subsets=1, kid_subset_size=90, verbose=False)
    expected = theirs["kernel_inception_distance_mean"]
    assert distances.kid(c.real, c.synthetic) == pytest.approx(expected, rel=1e-9)


def test_kid_of_unequal_sides_is_its_definition(monkeypatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", 7)
    x, y, c = sides(20, 13, d=5)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a.astype(np.float64) @ b.astype(np.float64)) / 5 + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    across = np.mean([k(a, b) for a in x for b in y])
    expected = within[0] + within[1] - 2 * across
    assert distances.kid(c.real, c.synthetic) == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased() -> None:
    values = [
        fidelity.kid(embedded(gauss(30, 4, seed=2 * s)), embedded(gauss(30, 4, seed=2 * s + 1))) for s in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5


def test_kid_has_the_spread_of_kids_of_other_images() -> None:
    """Half of the images, drawn without return, vary about as all of them would."""
    found = [distances.kid_with_spread(sides(150, 150, seed=2 * s)[2]) for s in range(60)]
    spread = np.mean([f["kid_spread"] for f in found])
    assert spread == pytest.approx(np.std([f["kid"] for f in found], ddof=1), rel=0.4)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 20), (37, 53), (1, 30)])
def test_sliced_wasserstein_is_scipys_of_each_projection(monkeypatch, n: int, m: int) -> None:
    monkeypatch.setattr(distances, "BLOCK", 16)
    x, y, c = sides(n, m, d=3)
    directions = c.rng("directions").normal(size=(3, distances.PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    expected = [wasserstein_distance(x @ one, y @ one) for one in directions.T]
    assert distances.sliced_wasserstein(c) == pytest.approx(np.mean(expected), rel=1e-6)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection() -> None:
    """E|<u,e>| = 1/2 for a uniform direction u in three dimensions."""
    x = gauss(50, 3)
    c = Compared(embedded(x), embedded(x + np.array([8, 0, 0], np.float32)))
    assert distances.sliced_wasserstein(c) == pytest.approx(4, rel=0.1)
