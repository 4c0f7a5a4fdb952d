from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from augpipe.nn.augment import diff_augment, ops


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", list(ops))
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_kept_own_draw_an_image_and_same_seed_same_result(name: str, channels: int) -> None:
    x = torch.rand(1, channels, 16, 16).expand(8, -1, -1, -1) * 2 - 1
    y = diff_augment(x, [name], rng())
    assert y.shape == x.shape and y.dtype == x.dtype
    assert torch.equal(y, diff_augment(x, [name], rng()))
    if name != "saturation" or channels == 3:
        assert len({tuple(image.flatten().tolist()) for image in y}) > 1


@pytest.mark.parametrize("name", list(ops))
def test_differentiable(name: str) -> None:
    x = (torch.rand(2, 3, 8, 8, dtype=torch.float64) * 2 - 1).requires_grad_()
    assert gradcheck(lambda t: diff_augment(t, [name], rng()), x)


def test_translation_moves_by_at_most_an_eighth_and_fills_with_black() -> None:
    x = torch.full((400, 1, 16, 16), -1.0)
    x[:, :, 8, 8] = 1
    y = diff_augment(x, ["translation"], rng())
    at = torch.nonzero(y[:, 0] == 1)
    assert len(at) == 400  # the point is never lost
    shifts = at[:, 1:] - 8
    assert set(shifts.flatten().tolist()) == {-2, -1, 0, 1, 2}
    assert ((y == 1) | (y == -1)).all()


def test_translation_is_a_plain_shift() -> None:
    x = torch.rand(50, 2, 16, 16)
    y = diff_augment(x, ["translation"], rng(3))
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    for before, after in zip(padded, y, strict=True):
        windows = [before[:, i : i + 16, j : j + 16] for i in range(5) for j in range(5)]
        assert any(torch.equal(after, w) for w in windows)


def test_cutout_is_a_square_of_half_the_side() -> None:
    y = diff_augment(torch.ones(500, 1, 16, 16), ["cutout"], rng())
    sizes = (y == 0).sum((1, 2, 3))
    assert sizes.max() == 64  # 8 x 8 where it lies inside
    assert sizes.min() >= 16  # centres lie inside, so a quarter always does
    rows = (y == 0).any(3).sum(2).flatten()
    assert rows.max() == 8


def test_brightness_and_contrast_ranges() -> None:
    x = torch.rand(2000, 1, 4, 4)
    shift = (diff_augment(x, ["brightness"], rng()) - x).mean((1, 2, 3))
    assert (
        shift.min() >= -0.5
        and shift.max() <= 0.5
        and shift.std() == pytest.approx(0.2887, abs=0.01)
    )
    centred = x - x.mean((1, 2, 3), keepdim=True)
    y = diff_augment(x, ["contrast"], rng())
    scale = ((y - x.mean((1, 2, 3), keepdim=True)) / centred).median(3)[0].median(2)[0].flatten()
    assert scale.min() >= 0.49 and scale.max() <= 1.51
    assert y.mean((1, 2, 3)).sub(x.mean((1, 2, 3))).abs().max() < 1e-5
