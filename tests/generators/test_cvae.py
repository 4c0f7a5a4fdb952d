"""cvae: its loss against the formulas, and where its latents are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from contracts import fresh, steps
from sklearn.covariance import ledoit_wolf
from torch.nn import functional as F

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, provenance, to_float
from augpipe.generators.models.cvae import CVAE, BetweenCVAE, ClassCVAE
from augpipe.generators.protocol import Deriving
from augpipe.nn.variational import Posterior, kl_divergence


def built(train: ImageSet, here: Runtime, **options: Any) -> CVAE:
    model = fresh("cvae", train, here, **options)
    assert isinstance(model, CVAE)
    return model


def test_a_dimension_costs_at_least_its_free_bits(here, make_shapes) -> None:
    train = make_shapes((4, 4))
    mean = torch.tensor([[2.0, 0.0], [2.0, 0.0]])  # 2 nats and 0
    posterior = Posterior(mean, torch.zeros(2, 2))
    assert float(built(train, here)._divergence(posterior)) == pytest.approx(2)
    assert float(built(train, here, free_bits=0.5)._divergence(posterior)) == pytest.approx(2.5)


def test_the_gradient_is_that_of_the_bound_at_the_best_variance(here, make_shapes) -> None:
    """-log p = n/2 log(2 pi s) + |x - d|² / 2 s is least at s = mean (x - d)²: n/2 log s is left (Rybkin et al. 2021)."""
    train = make_shapes((6, 6))
    model, twin = (built(train, here, draw="prior", beta=0.7) for _ in range(2))
    images, labels = train.tensors()
    real = to_float(images)
    posterior = twin.net.encode(real, labels)
    z = posterior.mean + (0.5 * posterior.log_variance).exp() * twin.normal(posterior.mean)
    n = real[0].numel()
    bound = n / 2 * F.mse_loss(twin.net(z, labels), real).log() + 0.7 * kl_divergence(posterior).sum(1).mean()
    bound.backward()
    model.step(images, labels)
    pairs = [(a, b) for a, b in zip(model.net.parameters(), twin.net.parameters(), strict=True) if b.grad is not None]
    assert len(pairs) > 20
    for ours, theirs in pairs:
        torch.testing.assert_close(ours.grad, theirs.grad / n, rtol=1e-3, atol=1e-6)


def test_latents_of_a_class_have_its_posteriors_moments(here, make_shapes) -> None:
    """Mean and covariance of a mixture: the spread of the means, and the mean of the variances."""
    train = make_shapes((30, 5))
    model = built(train, here)
    assert isinstance(model, ClassCVAE)
    steps(model, train, 5)
    labels = torch.ones(20_000, dtype=torch.int64)
    z = model.latents(labels, torch.Generator().manual_seed(0)).double()
    posterior = model.encode(torch.from_numpy(np.flatnonzero(train.labels == 1)))
    means = posterior.mean.double().numpy()
    expected = ledoit_wolf(means)[0] + np.diag(posterior.log_variance.double().exp().mean(0).numpy())
    scale = float(np.sqrt(np.diag(expected)).max())
    assert np.allclose(z.mean(0), means.mean(0), atol=0.03 * scale)
    assert np.allclose(np.cov(z.numpy(), rowvar=False), expected, atol=0.05 * scale**2)


def test_latents_between_two_images_are_decoded_and_the_nearer_is_the_parent(here, make_shapes) -> None:
    train = make_shapes((8, 1))
    model = built(train, here, draw="between")
    assert isinstance(model, BetweenCVAE) and isinstance(model, Deriving)
    steps(model, train, 3)
    alone = model.derive(torch.tensor([1, 1]), torch.Generator().manual_seed(0))
    # The only image of its class is rebuilt from the mean of its posterior.
    rebuilt = model.decode(model.encode(torch.tensor([8])).mean, torch.tensor([1]))
    assert alone.parents.tolist() == [8, 8]
    assert torch.equal(alone.images[0], rebuilt[0]) and torch.equal(alone.images[1], rebuilt[0])
    assert not isinstance(built(train, here, draw="prior"), Deriving)


def test_it_learns_to_reconstruct(here, make_shapes) -> None:
    train = make_shapes((30, 30))
    model = built(train, here, width=8, latent=16, learning_rate=3e-3)
    losses = steps(model, train, 150)
    first, last = (np.mean([t["loss_reconstruction"] for t in part]) for part in (losses[:5], losses[-10:]))
    assert last < 0.35 * first


def test_images_that_are_mostly_black_are_learnt(here) -> None:
    """As MNIST's: a bounded decoder saturates at black in its first steps, and never leaves it."""
    pictures = np.zeros((20, 1, 16, 16), np.uint8)
    for row in range(20):
        pictures[row, :, row % 2 * 8 + 2 : row % 2 * 8 + 6, 7] = 255
    train = ImageSet(pictures, np.arange(20) % 2, ("up", "down"), provenance([str(i) for i in range(20)]))
    losses = steps(built(train, here, width=16, latent=16), train, 60, batch=20)
    best_constant = float(to_float(torch.from_numpy(pictures)).var())
    assert np.mean([one["loss_reconstruction"] for one in losses[-5:]]) < 0.5 * best_constant


def test_vae_gan_gives_each_net_the_gradient_of_its_objective(here, make_shapes) -> None:
    """Larsen et al. 2016, algorithm 1: the decoder alone learns from the critic; likeness is of the critic's features."""
    train = make_shapes((6, 6))
    options = {"draw": "prior", "adversarial": True, "adversarial_weight": 0.3, "augment": (), "r1": 0.0}
    model, twin = (built(train, here, **options) for _ in range(2))
    real, labels = twin.in_class_order(*train.tensors())
    assert twin.d is not None and model.d is not None
    posterior = twin.net.encode(real, labels)
    z = posterior.mean + (0.5 * posterior.log_variance).exp() * twin.normal(posterior.mean)
    prior = twin.normal(z)
    rebuilt, target = twin.net(z, labels), twin.d.features(real).detach()
    n = target[0].numel()
    assert n == 8 * 8 * 8  # 8 channels at half of 16 pixels
    bound = 0.5 * F.mse_loss(twin.d.features(rebuilt), target).log() + kl_divergence(posterior).sum(1).mean() / n
    scores = [twin.d(rebuilt, labels), twin.d(twin.net(prior, labels), labels)]
    fooled = F.softplus(-torch.cat(scores)).mean()
    caught = F.softplus(-twin.d(real, labels)).mean() + F.softplus(torch.cat(scores)).mean()
    model.step(*train.tensors())
    encoder = ("encoder_class", "stem", "down", "posterior")
    of_encoder = {name for name, _ in twin.net.named_parameters() if name.startswith(encoder)}
    of_decoder = {name for name, _ in twin.net.named_parameters()} - of_encoder
    for loss, net, theirs, names in (
        (bound, model.net, twin.net, of_encoder),
        (bound + 0.3 * fooled, model.net, twin.net, of_decoder),
        (caught, model.d, twin.d, {name for name, _ in twin.d.named_parameters()}),
    ):
        expected = torch.autograd.grad(loss, [theirs.get_parameter(n) for n in names], retain_graph=True)
        assert len(expected) > 10
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(net.get_parameter(name).grad, gradient, rtol=1e-3, atol=1e-5)
