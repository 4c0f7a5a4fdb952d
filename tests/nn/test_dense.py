from __future__ import annotations

import pytest
import torch

from augpipe.core.image_spec import ImageSpec
from augpipe.nn.dense import DenseUNet, PairCritic


def test_the_critic_sees_both_images_of_a_pair() -> None:
    critic = PairCritic(ImageSpec(16, 3), width=0.06, inner=1, dropout=0.0).eval()
    one, other = torch.randn(2, 2, 3, 16, 16).unbind(0)
    pair = torch.cat([one, other], 1).requires_grad_()
    critic(pair).sum().backward()
    assert pair.grad is not None
    assert (pair.grad[:, :3].abs().sum() > 0) and (pair.grad[:, 3:].abs().sum() > 0)


@pytest.mark.parametrize("size", [16, 28, 30, 64])
def test_skips_fit_at_any_size(size: int) -> None:
    g = DenseUNet(ImageSpec(size, 1), width=0.06, latent=8, inner=1, dropout=0.0)
    assert g(torch.zeros(2, 1, size, size), torch.zeros(2, 8)).shape == (2, 1, size, size)


def test_noise_comes_in_as_8_4_and_2_maps() -> None:
    g = DenseUNet(ImageSpec(64, 1), width=0.06, latent=8, inner=1, dropout=0.0)
    assert [maps for _, maps in g.places] == [8, 4, 2]
    assert [size for size, _ in g.places] == [4, 8, 16]
