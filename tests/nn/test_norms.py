from __future__ import annotations

import pytest
import torch
from torch import nn

from augpipe.nn.blocks import initialise
from augpipe.nn.norms import (
    ApartBatchNorm2d,
    ConditionalBatchNorm2d,
    apart,
    minibatch_stddev,
    norms_apart,
    pixel_norm,
    spectral_norm,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pixel_norm_by_hand() -> None:
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    root = (25 / 2) ** 0.5
    assert torch.allclose(pixel_norm(x).flatten(), torch.tensor([3 / root, 4 / root]))
    y = pixel_norm(torch.randn(4, 8, 5, 5, generator=rng()) * 100)
    assert torch.allclose(y.square().mean(1), torch.ones(4, 5, 5), atol=1e-4)


def test_minibatch_stddev_on_a_known_batch() -> None:
    # Two groups of four neighbours: in the first, values 0, 0, 2, 2 everywhere (standard deviation 1);
    # in the second all are alike.
    x = torch.zeros(8, 3, 2, 2)
    x[2:4] = 2.0
    y = minibatch_stddev(x)
    assert y.shape == (8, 4, 2, 2) and torch.equal(y[:, :3], x)
    assert torch.allclose(y[:4, 3], torch.ones(4, 2, 2), atol=1e-3)
    assert torch.allclose(y[4:, 3], torch.zeros(4, 2, 2), atol=1e-3)


def test_minibatch_stddev_averages_over_features_and_positions() -> None:
    x = torch.zeros(4, 2, 1, 2)
    x[2:, 0, 0, 0] = 2.0  # one of four values spreads by 1
    assert minibatch_stddev(x)[0, 2, 0, 0].item() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 9])
def test_minibatch_stddev_of_any_batch(n: int) -> None:
    y = minibatch_stddev(torch.randn(n, 2, 3, 3, generator=rng()))
    assert y.shape == (n, 3, 3, 3) and y.isfinite().all()
    if n > 1:
        assert (y[:, 2] > 0.1).all()  # the images that are left over have a group too


def test_a_class_has_its_own_gain_and_bias() -> None:
    norm = ConditionalBatchNorm2d(2, 3)
    initialise(norm, rng())
    x = torch.randn(64, 2, 4, 4, generator=rng()) * 3 + 1
    labels = torch.arange(64) % 3
    plain = nn.BatchNorm2d(2, affine=False)(x)
    assert torch.allclose(norm(x, labels), plain, atol=1e-6)  # gain 1, bias 0 at first
    with torch.no_grad():
        norm.gain[1], norm.shift[1] = torch.tensor([2.0, 3.0]), torch.tensor([-1.0, 5.0])
    y = norm(x, labels)
    assert torch.allclose(y[labels != 1], plain[labels != 1], atol=1e-6)
    by_hand = plain[labels == 1] * torch.tensor([2.0, 3.0]).view(2, 1, 1)
    by_hand = by_hand + torch.tensor([-1.0, 5.0]).view(2, 1, 1)
    assert torch.allclose(y[labels == 1], by_hand, atol=1e-5)


def layers() -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128, 4))
    initialise(net, rng())
    with torch.no_grad():
        for part in (net[0], net[3]):
            part.weight.mul_(7)
    return net


def test_spectral_norm_is_one_after_training_steps() -> None:
    net = layers()
    spectral_norm(net, rng(1))
    x = torch.randn(2, 3, 4, 4, generator=rng())
    optimiser = torch.optim.SGD(net.parameters(), 0.05)
    for _ in range(20):
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()
    for _ in range(30):  # the iteration catches up with the weights
        net(x)
    for part in (net[0], net[3]):
        top = torch.linalg.matrix_norm(part.weight.detach().flatten(1), 2).item()
        assert top == pytest.approx(1.0, abs=1e-3) and top <= 1 + 1e-3


def test_a_lipschitz_bound_holds_for_the_whole_net() -> None:
    """Linear layers of norm 1 and LeakyReLU: no two inputs are further apart in the output."""
    net = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 4))
    initialise(net, rng())
    spectral_norm(net, rng(1))
    a, b = torch.randn(200, 16, generator=rng(2)), torch.randn(200, 16, generator=rng(3))
    for _ in range(50):
        net(a)
    assert ((net(a) - net(b)).norm(dim=1) <= (a - b).norm(dim=1) * 1.001).all()


def test_the_spectral_gradient_is_that_of_the_quotient() -> None:
    """With u and v at the singular vectors, dW of W / sigma(W) by autograd equals the finite difference."""
    layer = nn.Linear(3, 2, bias=False).double()
    nn.init.normal_(layer.weight, generator=rng())
    weight = layer.weight.detach().clone()
    spectral_norm(layer, torch.Generator().manual_seed(1))
    for _ in range(200):
        layer(torch.zeros(1, 3).double())
    x = torch.randn(5, 3, generator=rng(4)).double()
    layer(x).sum().backward()
    found = layer.parametrizations.weight.original.grad
    eps = 1e-6
    for i, j in ((0, 0), (1, 2)):
        sums = []
        for sign in (1, -1):
            w = weight.clone()
            w[i, j] += sign * eps
            sums.append((x @ (w / torch.linalg.matrix_norm(w, 2)).T).sum())
        assert found[i, j].item() == pytest.approx(((sums[0] - sums[1]) / 2 / eps).item(), rel=1e-4)


def test_the_same_seed_gives_the_same_vectors_whatever_the_global_generator_says() -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        net = layers()
        spectral_norm(net, rng(1))
        found.append(net[0].parametrizations.weight[0].u)
    assert torch.equal(found[0], found[1])


def test_norms_apart_keep_two_sets_of_statistics() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
    initialise(net, rng())
    x, other = (torch.randn(8, 1, 6, 6, generator=rng(1)), 5 + torch.randn(8, 1, 6, 6, generator=rng(2)))
    plain = net(x)
    net[1][0].reset_running_stats()
    norms_apart(net)
    norm = net[1][0]
    assert isinstance(norm, ApartBatchNorm2d) and len(list(net[1])) == 2
    assert torch.equal(net(x), plain)  # the first set alone
    before = norm.running_mean.clone()
    with apart(net):
        net(other)
    assert torch.equal(norm.running_mean, before)
    assert not torch.allclose(norm.other.running_mean, before, atol=0.05)
    net.eval()
    first = net(other)
    with apart(net):
        assert not torch.allclose(net(other), first)
    assert torch.equal(net(other), first)
