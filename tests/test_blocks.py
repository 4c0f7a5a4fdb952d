from __future__ import annotations

import pytest
import torch
from torch import nn

from augpipe.errors import UserError
from augpipe.nn.blocks import Dropout, doublings, initialise, use_rng


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
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 4), nn.Flatten(),
            nn.Linear(16, 2), nn.Embedding(3, 5),
        )  # fmt: skip
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
