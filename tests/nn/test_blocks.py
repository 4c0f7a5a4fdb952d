from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from augpipe.core.errors import UserError
from augpipe.nn.blocks import Dropout, EqualConv2d, EqualLinear, doublings, initialise, use_rng, widths


def test_dropout_keeps_the_mean_and_draws_from_its_generator() -> None:
    x = torch.ones(200, 500)
    layer = Dropout(0.3)
    with pytest.raises(RuntimeError, match="use_rng"):
        layer(x)
    draws = []
    for _ in range(2):
        use_rng(layer, torch.Generator().manual_seed(0))
        torch.manual_seed(len(draws))  # the global generator must not matter
        draws.append(layer(x))
    assert torch.equal(*draws)
    assert (draws[0] == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert draws[0].mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("scheme", ["kaiming", "dcgan"])
def test_initialise_sets_every_parameter_from_its_generator(scheme) -> None:
    def made(global_seed: int) -> nn.Module:
        torch.manual_seed(global_seed)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ConvTranspose2d(8, 4, 4),
            nn.Flatten(),
            nn.Linear(16, 2),
            nn.Embedding(3, 5),
        )
        for parameter in net.parameters():
            nn.init.constant_(parameter, 77.0)
        initialise(net, torch.Generator().manual_seed(5), scheme)
        return net

    one, two = made(0), made(1)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b) and not (a == 77).any()


def test_initialise_has_the_spread_of_its_papers() -> None:
    conv = nn.Conv2d(64, 128, 3)
    initialise(conv, torch.Generator().manual_seed(0))
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    initialise(conv, torch.Generator().manual_seed(0), "dcgan")
    assert conv.weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_initialise_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="PReLU"):
        initialise(nn.PReLU(), torch.Generator())


def test_doublings() -> None:
    assert doublings(16) == (4, 2) and doublings(28) == (7, 2) and doublings(128) == (4, 5)
    assert doublings(8) == (4, 1) and doublings(48) == (6, 3)
    for bad in (7, 15, 17, 36, 100):
        with pytest.raises(UserError, match=f"image size {bad}"):
            doublings(bad)


@pytest.mark.parametrize("i", [3, 64])
def test_equalised_layers_keep_the_variance_whatever_the_fan_in(i: int) -> None:
    """Weights are N(0,1) and scaled by gain/sqrt(fan_in) at run time (He's constant, Karras et al. 2018, 4.1)."""
    rng = torch.Generator().manual_seed(0)
    conv, linear = EqualConv2d(i, 256, 3, gain=1.0), EqualLinear(i, 4096, gain=1.0)
    initialise(torch.nn.ModuleList([conv, linear]), rng)
    assert conv.weight.std().item() == pytest.approx(1, rel=0.05)
    assert conv.scale == pytest.approx(1 / math.sqrt(9 * i))
    assert linear.scale == pytest.approx(1 / math.sqrt(i))
    x = torch.randn(16, i, 8, 8, generator=rng)
    assert conv(x)[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.1)
    by_hand = torch.nn.functional.conv2d(x, conv.weight / math.sqrt(9 * i), conv.bias, padding=1)
    assert torch.allclose(conv(x), by_hand, atol=1e-5)
    assert linear(x[:, :, 0, 0]).std().item() == pytest.approx(1, rel=0.1)


def test_adam_moves_equalised_layers_alike() -> None:
    """Under Adam the parameters of every layer move at one rate, so the effective weights by its own scale."""
    layers = [EqualLinear(4, 4, gain=1.0), EqualLinear(400, 4, gain=1.0)]
    for layer in layers:
        layer.draw_parameters(torch.Generator().manual_seed(0))
        before = layer.weight.detach().clone()
        optimiser = torch.optim.Adam(layer.parameters(), 0.01)
        layer(torch.ones(2, layer.weight.shape[1])).sum().backward()
        optimiser.step()
        moved = (layer.weight.detach() - before).abs() / before.abs().mean()
        assert moved.mean().item() == pytest.approx(0.01 / before.abs().mean().item(), rel=1e-3)


def test_widths_halve_with_each_doubling() -> None:
    assert widths(16, 3) == [128, 64, 32, 16]
    assert widths(16, 5, most=8) == [128, 128, 128, 64, 32, 16]
    assert widths(1, 2) == [8, 8, 8]
