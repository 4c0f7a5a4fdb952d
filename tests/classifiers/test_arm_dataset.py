"""An arm's data set draws what the arm's batches show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from shapes import shapes
from torch.utils.data import DataLoader

from augpipe.classifiers.arm_dataset import ArmDataset
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import Mix
from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet


def weighted(images: ImageSet) -> ImageSet:
    """Of each class the first image has ten times the weight of another."""
    first = ~images.table.assign(label=images.labels).duplicated("label")
    table = images.table.assign(weight=np.where(first, 10.0, 1.0))
    return ImageSet(images.images, images.labels, images.classes, table)


@pytest.mark.parametrize(
    "options",
    [{}, {"sampler": "balanced", "share": 0.3}, {"sampler": "sqrt", "share": {"c1": 0.5, "c2": 0.2}, "until": 0.5}],
)
def test_weights_are_the_frequencies_of_the_arms_batches(options: dict[str, Any], here: Runtime) -> None:
    real, synthetic = shapes((40, 20, 5)), weighted(shapes((0, 30, 60), seed=1))
    dataset = ArmDataset(real, synthetic, Mix(**options), seed=0)
    mixture = Mixture(real, synthetic, Mix(**options), here, seed=0)
    # A weighted sum of its pixels identifies an image; a training in ten parts shows the effect of `until`.
    factors = torch.arange(1, 257).view(1, 1, 16, 16)
    key = {int((dataset[row][0] * factors).sum()): row for row in range(len(dataset))}
    assert len(key) == len(dataset) == 155 and dataset.synthetic.sum() == 90
    n = 4000
    drawn = [mixture.draw(n, done / 10).images for done in range(10)]
    sums = (torch.cat(drawn) * factors).sum((1, 2, 3))
    rows = [key[total] for total in sums.tolist()]
    frequency = np.bincount(rows, minlength=len(dataset)) / (10 * n)
    weights = dataset.weights.numpy()
    assert weights.sum() == pytest.approx(1)
    error = np.sqrt(weights * (1 - weights) / (10 * n))
    assert (np.abs(frequency - weights) <= 5 * error + 1e-12).all()
    sampled = list(dataset.sampler(20_000, torch.Generator().manual_seed(0)))
    frequency = np.bincount(sampled, minlength=len(dataset)) / 20_000
    assert np.abs(frequency - weights).max() < 5 * np.sqrt(weights.max() / 20_000)


def test_items_are_transformed_and_a_worker_has_a_stream_of_its_own() -> None:
    real = shapes((2, 2))
    plain, changed = (ArmDataset(real, None, Mix(transform=name), 0) for name in (None, "light"))
    assert torch.equal(plain[3][0], torch.from_numpy(real.images[3])) and plain[3][1] == 1
    assert not torch.equal(changed[3][0], plain[3][0]) and changed.weights.tolist() == [0.25] * 4
    again = ArmDataset(real, None, Mix(transform="light"), 0)
    assert not torch.equal(again[0][0], changed[0][0])  # its stream begins anew, the other goes on
    images, labels = next(iter(DataLoader(plain, batch_size=4)))
    assert images.shape == (4, 1, 16, 16) and images.dtype == torch.uint8
    assert labels.tolist() == [0, 0, 1, 1] and plain.classes == ("c0", "c1")
