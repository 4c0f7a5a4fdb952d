"""How diverse a generator's images of a class are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augpipe.generators.diversity import Diversity


def test_diversity_is_the_mean_distance_of_pairs_against_the_real_one(make_shapes) -> None:
    train = make_shapes((30, 30, 1))

    class Same:
        def sample(self, labels: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
            rows = [int(np.flatnonzero(train.labels == c)[i % 8]) for i, c in enumerate(labels)]
            return torch.from_numpy(train.images[rows])

    found = Diversity(train, seed=0).of(Same())
    own = train.images[:8].reshape(8, -1).astype(float)
    pairs = [np.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(own) for b in own[:i]]
    every = train.images[:30].reshape(30, -1).astype(float)
    real = [np.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(every) for b in every[:i]]
    assert set(found) == {0, 1}  # one image has no pair
    assert found[0] == pytest.approx(np.mean(pairs) / np.mean(real))
