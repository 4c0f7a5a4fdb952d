from __future__ import annotations

import math

import pytest
import torch

from augpipe.nn import losses


def test_discriminator_loss_on_a_worked_example() -> None:
    # D(x) = 3/4 for the real one and 1/4 for the fake one: -log(3/4) - log(1 - 1/4).
    real, fake = torch.tensor([math.log(3)]), torch.tensor([-math.log(3)])
    assert losses.discriminator_bce(real, fake).item() == pytest.approx(-2 * math.log(0.75))
    smooth = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25)) - math.log(0.75)
    assert losses.discriminator_bce(real, fake, 0.9).item() == pytest.approx(smooth)


def test_generator_loss_does_not_saturate() -> None:
    fake = torch.tensor([-8.0], requires_grad=True)
    losses.generator_bce(fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(-1, abs=1e-3)  # sigmoid(-8) - 1: not vanishing


def test_classification_takes_logits_and_weights() -> None:
    logits, labels = torch.log(torch.tensor([[0.7, 0.3], [0.2, 0.8]])), torch.tensor([0, 0])
    plain = -(math.log(0.7) + math.log(0.2)) / 2
    assert losses.classification(logits, labels).item() == pytest.approx(plain)
    labels = torch.tensor([0, 1])
    weighted = -(3 * math.log(0.7) + 1 * math.log(0.8)) / 4
    found = losses.classification(logits, labels, torch.tensor([3.0, 1.0]))
    assert found.item() == pytest.approx(weighted)
