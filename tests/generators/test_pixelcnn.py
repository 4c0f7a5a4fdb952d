"""pixelcnn: its likelihood is that of the loss, and is highest with the class of an image."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import draw, tiny

from augpipe.core.image_spec import ImageSpec
from augpipe.generators import families
from augpipe.generators.models.pixelcnn import PixelCNN
from augpipe.generators.protocol import Problem


def test_the_likelihood_is_that_of_the_loss_and_of_the_class(here) -> None:
    config = tiny("pixelcnn", width=8, dropout=0.0, learning_rate=0.02, ema_half_kimg=0.001)
    model = families.build(config, Problem(ImageSpec(8, 1), ("dark", "bright")), here, 0)
    assert isinstance(model, PixelCNN)
    labels = torch.arange(24) % 2
    noise = torch.randint(0, 100, (24, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = (noise + 150 * labels[:, None, None, None]).to(torch.uint8)
    untrained = model.log_likelihood(images, labels)
    bits = -float(untrained.mean()) / (64 * math.log(2))
    assert float(model.step(images, labels)["loss_bits"]) == pytest.approx(bits, rel=1e-4)
    for _ in range(80):
        trained = float(model.step(images, labels)["loss_bits"])
    assert trained < math.log2(100) + 0.3 < bits  # of uniform noise over 100 levels no model needs fewer bits
    right, wrong = (model.log_likelihood(images, c) for c in (labels, 1 - labels))
    assert (right > wrong).all()
    drawn = draw(model, [0, 1] * 8).float().mean((1, 2, 3))
    assert drawn[::2].max() < 110 and drawn[1::2].min() > 140
