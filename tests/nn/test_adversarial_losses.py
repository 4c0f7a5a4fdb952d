"""Adversarial losses by their equations, and what the options say of each."""

from __future__ import annotations

import math

import pytest
import torch

from augpipe.nn import options
from augpipe.nn.adversarial_losses import losses

REAL, FAKE = torch.tensor([2.0, -0.5, 0.25]), torch.tensor([-1.0, 0.5, 3.0])


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def by_hand(name: str, real: list[float], fake: list[float]) -> tuple[float, float]:
    """The critic's and the generator's loss, as the papers write them."""
    mr, mf = mean(real), mean(fake)
    pairs = list(zip(real, fake, strict=True))
    return {
        "nonsaturating": (
            -mean(map(log_sigmoid, real)) - mean(log_sigmoid(-f) for f in fake),
            -mean(map(log_sigmoid, fake)),
        ),
        "hinge": (mean(max(0, 1 - r) for r in real) + mean(max(0, 1 + f) for f in fake), -mf),
        # a, b, c of eq. 1 are -1, 1, 0.
        "least_squares": (
            mean((r - 1) ** 2 for r in real) / 2 + mean((f + 1) ** 2 for f in fake) / 2,
            mean(f**2 for f in fake) / 2,
        ),
        "wasserstein_gp": (mf - mr, -mf),
        "relativistic_average": (
            -mean(log_sigmoid(r - mf) for r in real) - mean(log_sigmoid(-(f - mr)) for f in fake),
            -mean(log_sigmoid(f - mr) for f in fake) - mean(log_sigmoid(-(r - mf)) for r in real),
        ),
        "relativistic_pairing": (
            -mean(log_sigmoid(r - f) for r, f in pairs),
            -mean(log_sigmoid(f - r) for r, f in pairs),
        ),
    }[name]


@pytest.mark.parametrize("name", options.LOSSES)
def test_each_loss_is_its_papers(name: str) -> None:
    critic, generator = by_hand(name, REAL.tolist(), FAKE.tolist())
    assert losses[name].critic(REAL, FAKE, 1.0, 0.0).item() == pytest.approx(critic, rel=1e-5)
    assert losses[name].generator(FAKE, REAL).item() == pytest.approx(generator, rel=1e-5)


@pytest.mark.parametrize("name", options.LOSSES)
def test_the_options_know_what_counts_in_a_loss(name: str) -> None:
    loss = losses[name]
    plain = loss.critic(REAL, FAKE, 1.0, 0.0)
    shifted = torch.isclose(loss.critic(REAL + 5, FAKE + 5, 1.0, 0.0), plain)
    assert bool(shifted) == (name in options.UNSIGNED)
    targeted = torch.isclose(loss.critic(REAL, FAKE, 0.8, 0.1), plain)
    assert bool(targeted) == (name not in options.WITH_TARGETS)
    alone = torch.isclose(loss.generator(FAKE, REAL), loss.generator(FAKE, REAL * 2))
    assert bool(alone) == (name not in options.RELATIVISTIC)


def test_the_names_are_those_of_the_file() -> None:
    assert tuple(losses) == options.LOSSES
    assert {*options.UNSIGNED, *options.WITH_TARGETS, *options.RELATIVISTIC, *options.PAIRED} <= set(losses)


def test_targets_of_each_image() -> None:
    targets, none = torch.tensor([1.0, 0.8, 0.7]), torch.tensor([0.0, 0.1, 0.2])
    expected = -mean(
        t * log_sigmoid(r) + (1 - t) * log_sigmoid(-r) for t, r in zip(targets.tolist(), REAL.tolist(), strict=True)
    ) - mean(t * log_sigmoid(f) + (1 - t) * log_sigmoid(-f) for t, f in zip(none.tolist(), FAKE.tolist(), strict=True))
    assert losses["nonsaturating"].critic(REAL, FAKE, targets, none).item() == pytest.approx(expected, rel=1e-5)
    squares = ((REAL - (2 * targets - 1)) ** 2).mean() / 2 + ((FAKE - (2 * none - 1)) ** 2).mean() / 2
    torch.testing.assert_close(losses["least_squares"].critic(REAL, FAKE, targets, none), squares)
