from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from augpipe.transforms import Transform, policies


@pytest.mark.parametrize("policy", list(policies))
@pytest.mark.parametrize("channels", [1, 3])
def test_same_seed_same_changes_shape_and_type_kept(policy: str, channels: int) -> None:
    x = torch.zeros(6, channels, 16, 16, dtype=torch.uint8)
    x[:, :, 5:11, 7:9] = 255
    first, again, other = (Transform(policy, seed)(x) for seed in (1, 1, 2))
    assert first.shape == x.shape and first.dtype == torch.uint8
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert any(not torch.equal(a, b) for a, b in pairwise(first))


def test_light_does_not_flip() -> None:
    # An L lit at the left and below stays so in every draw.
    x = torch.zeros(64, 1, 16, 16, dtype=torch.uint8)
    x[:, :, 3:13, 3:6] = 255
    x[:, :, 10:13, 3:13] = 255
    y = Transform("light", 0)(x).float()
    assert (y[..., :8].sum((1, 2, 3)) > y[..., 8:].sum((1, 2, 3))).all()
    assert (y[:, :, 8:].sum((1, 2, 3)) > y[:, :, :8].sum((1, 2, 3))).all()
