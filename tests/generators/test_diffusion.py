"""diffusion: preconditioning, sampler, guidance and losses against the papers' formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from contracts import fresh, steps
from torch import nn

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, provenance, to_float
from augpipe.generators.models import diffusion
from augpipe.generators.models.diffusion import Diffusion, denoise, loss_weight, noise_levels


def built(train: ImageSet, here: Runtime, **options: Any) -> Diffusion:
    model = fresh("diffusion", train, here, **options)
    assert isinstance(model, Diffusion)
    return model


class Ideal(nn.Module):
    """The network of a denoiser that knows the only image, x0: F = (x0 - c_skip x) / c_out."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.image = image

    def forward(self, x: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        s = (4 * noise).exp()[:, None, None, None]
        variance = s.square() + 0.25
        noisy = x * variance.sqrt()
        return (self.image - noisy * 0.25 / variance) / (s * 0.5 / variance.sqrt())


def test_the_preconditioned_network_is_the_papers() -> None:
    """Table 1: inputs of variance 1, and an output whose target has variance 1 at every noise level."""
    x0 = torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.01, 1.0, 30.0])
    noisy = x0 + sigma[:, None, None, None] * torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(denoise(Ideal(x0), noisy, sigma, torch.zeros(3)), x0, rtol=1e-3, atol=1e-3)
    c_out = sigma * 0.5 / (sigma.square() + 0.25).sqrt()
    torch.testing.assert_close(loss_weight(sigma) * c_out.square(), torch.ones(3))


def test_noise_levels_are_equation_5() -> None:
    levels = noise_levels(3)
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    torch.testing.assert_close(levels, torch.tensor([80.0, middle, 0.002, 0.0], dtype=torch.float64))


def test_the_sampler_solves_the_equation_of_normal_data_with_second_order(here, make_shapes, monkeypatch) -> None:
    """Of data N(0, s²) the denoiser is x s² / (s² + sigma²), and the flow ends at x s / sqrt(s² + 80²)."""
    noise = torch.randn((2, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    exact = 80 * noise * 0.5 / math.sqrt(0.25 + 80**2)
    errors = []
    for n in (40, 80):
        model = built(make_shapes((4, 4)), here, sampling_steps=n)
        monkeypatch.setattr(model, "_denoised", lambda x, sigma, labels: x * 0.25 / (0.25 + sigma**2))
        errors.append(float(((model.integrate(noise, torch.tensor([0, 1])) - exact) / exact).abs().max()))
    assert errors[1] < 3e-3
    assert 3.5 < errors[0] / errors[1] < 5  # twice the steps: a quarter of the error, of a first order half


def test_guidance_moves_away_from_what_no_class_gives(here, make_shapes, monkeypatch) -> None:
    model = built(make_shapes((4, 4)), here, guidance=3.0)

    class ByClass(nn.Module):
        def forward(self, x: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return labels[:, None, None, None] * torch.ones_like(x)

    monkeypatch.setattr(model.ema, "module", ByClass())
    x, labels, level = torch.zeros(2, 1, 16, 16), torch.tensor([0, 1]), torch.full((2,), 2.0)
    with torch.no_grad():
        of_class, of_none = (denoise(ByClass(), x, level, c) for c in (labels, torch.tensor([2, 2])))
        torch.testing.assert_close(model._denoised(x, 2.0, labels), of_none + 3 * (of_class - of_none))


def test_a_share_of_the_images_is_shown_without_a_class(here, make_shapes) -> None:
    model = built(make_shapes((8, 6), size=8), here, unlabelled=0.3)
    shown: list[torch.Tensor] = []
    model.net.register_forward_hook(lambda net, inputs, out: shown.append(inputs[2]))
    images, labels = make_shapes((500, 500), size=8).tensors()
    model.step(images, labels)
    assert shown[0].shape == labels.shape
    hidden = shown[0] == 2
    assert abs(float(hidden.float().mean()) - 0.3) < 0.05  # 3.4 standard deviations of 1,000 draws
    assert torch.equal(shown[0][~hidden], labels[~hidden])


def test_the_loss_of_a_new_network_is_that_of_its_skip_connection(here, make_shapes) -> None:
    """A new network gives 0: D(x) = c_skip x, and the loss is E lambda |c_skip (y + n) - y|² of equation 8."""
    train = make_shapes((40, 40))
    model = built(train, here)
    images, labels = train.tensors()
    states = {name: rng.get_state() for name, rng in model.rngs.items()}
    got = float(model.step(images, labels)["loss_denoising"])
    for name, state in states.items():
        model.rngs[name].set_state(state)
    real = to_float(images)
    sigma = (-1.2 + 1.2 * model.normal(real[:, 0, 0, 0])).exp()[:, None, None, None]
    noisy = real + sigma * model.normal(real)
    error = (0.25 / (sigma**2 + 0.25) * noisy - real).square()
    assert got == pytest.approx(float(((sigma**2 + 0.25) / (sigma * 0.5) ** 2 * error).mean()), rel=1e-4)


def test_class_balancing_is_the_distance_between_two_classes_noise(here, make_shapes, monkeypatch) -> None:
    """Equations 9 and 10: tau t |e(y) - e(y')|², with the commitment's quarter; none where the class has no effect."""
    model = built(make_shapes((4, 4)), here, class_balancing=1.0)
    noisy, sigma = torch.zeros(6, 1, 16, 16), torch.tensor([0.1, 0.3, 0.3, 1.0, 1.0, 5.0])
    of_class = torch.full_like(noisy, 0.4)
    monkeypatch.setattr(diffusion, "denoise", lambda net, x, sigma, labels: torch.full_like(x, 0.1))
    level = torch.distributions.Normal(-1.2, 1.2).cdf(sigma.log())
    expected = (1.25 * level * (0.3 / sigma) ** 2).mean()
    torch.testing.assert_close(model._class_balancing(noisy, sigma, of_class), expected)
    assert float(model._class_balancing(noisy, sigma, torch.full_like(noisy, 0.1))) == 0


def test_the_learning_rate_rises_once(here, make_shapes) -> None:
    train = make_shapes((8, 6))
    model = built(train, here, warm_up_kimg=0.04, learning_rate=1e-3)
    rates = []
    for _ in range(7):
        steps(model, train, 1)  # 8 images
        rates.append(model.optimisers["g"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3 * min(1, (8 * k + 1) / 40) for k in range(7)])
    model.lower_learning_rate(0.5)
    steps(model, train, 1)
    assert model.optimisers["g"].param_groups[0]["lr"] == pytest.approx(5e-4)


def test_it_learns_what_a_class_looks_like(here) -> None:
    """Dark images of one class, bright ones of the other."""
    levels = np.array([60, 200])
    labels = np.repeat([0, 1], 16).astype(np.int64)
    pixels = np.broadcast_to(levels[labels][:, None, None, None], (32, 1, 8, 8)).astype(np.uint8)
    train = ImageSet(pixels, labels, ("dark", "bright"), provenance([f"i{k}" for k in range(32)]))
    model = built(train, here, sampling_steps=8, learning_rate=3e-3, ema_half_kimg=0.2, width=8)
    steps(model, train, 100)
    drawn = model.sample(torch.tensor([0, 1]).repeat_interleave(8), torch.Generator().manual_seed(0)).float()
    means = drawn.mean((1, 2, 3)).view(2, 8).mean(1)
    assert means.tolist() == pytest.approx(levels.tolist(), abs=25)
