from __future__ import annotations

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf

from augpipe.nn.gaussians import ClassGaussians


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draws_have_the_mean_and_the_shrunk_covariance_of_the_encodings() -> None:
    gaussians = ClassGaussians(2, 3)
    found = {}
    for label, n in ((0, 500), (1, 6)):
        x = np.random.default_rng(label).normal(size=(n, 3)) @ np.diag([1.0, 2.0, 0.5]) + label * 4
        x[:, 1] += x[:, 0]
        gaussians.fit(label, x)
        found[label] = x
    for label, x in found.items():
        z = gaussians.draw(torch.full((200_000,), label), rng()).double().numpy()
        assert np.allclose(z.mean(0), x.mean(0), atol=0.03)
        assert np.allclose(np.cov(z, rowvar=False), ledoit_wolf(x)[0], atol=0.05)


def test_fewer_encodings_than_dimensions_still_spread_in_all_of_them() -> None:
    gaussians = ClassGaussians(1, 20)
    gaussians.fit(0, np.random.default_rng(0).normal(size=(5, 20)))
    z = gaussians.draw(torch.zeros(5000, dtype=torch.int64), rng()).double().numpy()
    assert np.linalg.matrix_rank(np.cov(z, rowvar=False)) == 20  # unshrunk it would be 4


def test_one_encoding_is_a_point() -> None:
    gaussians = ClassGaussians(2, 4)
    gaussians.fit(1, np.arange(4.0)[None])
    z = gaussians.draw(torch.tensor([1, 1]), rng())
    assert torch.equal(z, torch.arange(4.0).expand(2, -1))


def test_labels_may_come_in_any_order() -> None:
    gaussians = ClassGaussians(2, 2)
    for label in (0, 1):
        gaussians.fit(label, np.full((1, 2), 10.0 * label))
    z = gaussians.draw(torch.tensor([1, 0, 1, 1, 0]), rng())
    assert z[:, 0].tolist() == [10, 0, 10, 10, 0]
