"""Residual blocks, their norms and attention, against the formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from augpipe.nn.blocks import initialise
from augpipe.nn.residual import Attention, ModulatedNorm, Residual, channel_norm, fourier_features


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    initialise(module, torch.Generator().manual_seed(1))
    return module


def test_the_channels_of_each_position_get_mean_0_and_variance_1() -> None:
    x = 3 * random(2, 8, 4, 4) + 5
    centred = x - x.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(channel_norm(x), expected, rtol=1e-4, atol=1e-5)


def test_the_modulation_is_linear_in_the_vector() -> None:
    norm = ModulatedNorm(6, 3)
    torch.nn.init.normal_(norm.modulation.weight, generator=torch.Generator().manual_seed(2))
    torch.nn.init.zeros_(norm.modulation.bias)
    x, vector = random(4, 6, 5, 5), random(4, 3, seed=1)
    gain, shift = (vector @ norm.modulation.weight.T)[:, :, None, None].split(6, 1)
    torch.testing.assert_close(norm(x, vector), channel_norm(x) * (1 + gain) + shift)


@pytest.mark.parametrize(("resample", "size"), [(None, 8), ("up", 16), ("down", 4)])
def test_a_new_block_is_its_skip_connection(resample, size) -> None:
    x, vector = random(2, 6, 8, 8), random(2, 3)
    block = drawn(Residual(6, 6, 3, resample=resample))
    same = {"up": F.interpolate(x, scale_factor=2), "down": F.avg_pool2d(x, 2)}.get(resample, x)
    assert same.shape[2] == size
    assert torch.equal(block(x, vector), same)
    assert drawn(Residual(6, 4, 3, resample=resample))(x, vector).shape == (2, 4, size, size)


def test_attention_is_softmax_of_scaled_products_over_all_positions() -> None:
    x, block = random(2, 4, 3, 3), drawn(Attention(4))
    assert torch.equal(block(x), x)  # new: the identity
    torch.nn.init.eye_(block.out.weight.view(4, 4))
    query, key, value = block.project(channel_norm(x)).flatten(2).chunk(3, 1)
    weights = torch.softmax(torch.einsum("ncq,nck->nqk", query, key) / math.sqrt(4), 2)
    mixed = torch.einsum("nqk,nck->ncq", weights, value).view_as(x)
    torch.testing.assert_close(block(x), x + mixed, rtol=1e-4, atol=1e-5)


def test_features_are_cosines_and_sines_from_one_radian_down() -> None:
    got = fourier_features(torch.tensor([0.0, 2.0]), 2)
    expected = [[1, 1, 0, 0], [math.cos(2), math.cos(0.02), math.sin(2), math.sin(0.02)]]
    torch.testing.assert_close(got, torch.tensor(expected))
