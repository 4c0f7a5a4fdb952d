"""Parts of a style-based generator against their definitions (Karras et al. 2020)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from augpipe.nn.blocks import initialise
from augpipe.nn.styles import ModulatedConv2d, StyleMapping, demodulation, upsample


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(module: torch.nn.Module) -> Any:
    initialise(module, torch.Generator().manual_seed(1))
    return module


def test_demodulated_weights_have_norm_1() -> None:
    weight, style = random(5, 4, 3, 3), random(6, 4, seed=1)
    modulated = weight[None] * style[:, None, :, None, None] * demodulation(weight, style)[:, :, None, None, None]
    torch.testing.assert_close(modulated.flatten(2).norm(dim=2), torch.ones(6, 5))


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulation_is_a_convolution_with_weights_of_each_image(demodulate: bool) -> None:
    """Karras et al. 2020, eq. 1 to 3, as a grouped convolution: a group an image."""
    conv, x, w = drawn(ModulatedConv2d(4, 5, 3, 7, demodulate=demodulate)), random(6, 4, 8, 8), random(6, 7, seed=1)
    style = 1 + torch.einsum("nw,iw->ni", w, conv.affine.weight) / 7**0.5
    weights = torch.einsum("oikl,ni->noikl", conv.weight / (4 * 9) ** 0.5, style)
    if demodulate:
        weights = weights / weights.square().sum((2, 3, 4), keepdim=True).sqrt()
    grouped = F.conv2d(x.reshape(1, 24, 8, 8), weights.reshape(30, 4, 3, 3), padding=1, groups=6).view(6, 5, 8, 8)
    torch.testing.assert_close(conv(x, w), grouped, rtol=1e-4, atol=1e-5)


def test_upsampling_is_zeros_between_pixels_and_the_filter_1_3_3_1() -> None:
    x, sparse = random(2, 3, 5, 5), torch.zeros(2, 3, 10, 10)
    sparse[:, :, ::2, ::2] = x
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    kernel = torch.outer(line, line).expand(3, 1, 4, 4)
    expected = F.conv2d(F.pad(sparse, (2, 1, 2, 1)), kernel, groups=3)
    torch.testing.assert_close(upsample(x)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


def test_the_mapping_learns_a_hundredth_as_fast_and_knows_the_class() -> None:
    mapping, z = drawn(StyleMapping(8, 3, 2)), random(6, 8)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    w = mapping(z, labels)
    assert w.shape == (6, 8) and not torch.allclose(w, mapping(z, labels.flip(0)))
    torch.testing.assert_close(w, mapping(3 * z, labels), rtol=1e-4, atol=1e-5)  # only a latent's direction counts
    layer = mapping.layers[0]
    assert float(layer.weight.detach().std()) == pytest.approx(100, rel=0.15)
    before = layer(torch.ones(1, 16))
    with torch.no_grad():  # one step of Adam moves each parameter by the learning rate
        layer.weight += 0.1
        layer.bias += 0.1
    torch.testing.assert_close(
        layer(torch.ones(1, 16)) - before, torch.full((1, 8), 0.001 * (16**0.5 + 1)), rtol=1e-2, atol=0
    )
