from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from augpipe.nn.augment import Adaptive, diff_augment, ops


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
    assert shift.min() >= -0.5 and shift.max() <= 0.5 and shift.std() == pytest.approx(0.2887, abs=0.01)
    centred = x - x.mean((1, 2, 3), keepdim=True)
    y = diff_augment(x, ["contrast"], rng())
    scale = ((y - x.mean((1, 2, 3), keepdim=True)) / centred).median(3)[0].median(2)[0].flatten()
    assert scale.min() >= 0.49 and scale.max() <= 1.51
    assert y.mean((1, 2, 3)).sub(x.mean((1, 2, 3))).abs().max() < 1e-5


def test_each_operation_comes_with_probability_p() -> None:
    x = torch.rand(4000, 1, 8, 8)
    for p in (0.0, 0.3, 1.0):
        y = diff_augment(x, ["brightness"], rng(), p)
        changed = (y != x).flatten(1).any(1).float().mean().item()
        assert changed == pytest.approx(p, abs=0.03)
    one, other = (diff_augment(x, [name], rng(), 0.5) for name in ("brightness", "contrast"))
    both = diff_augment(x, ["brightness", "contrast"], rng(), 0.5)
    same = (both == x).flatten(1).all(1).float().mean().item()
    assert same == pytest.approx(0.25, abs=0.03)  # drawn for each operation on its own
    assert not torch.equal(one, other)


def test_rotation_and_scale_keep_the_centre_and_fill_with_black() -> None:
    x = torch.full((200, 1, 17, 17), -1.0)
    x[:, :, 8, 8] = 1.0
    x[:, :, 8, 12] = 0.5
    for name in ("rotation", "scale"):
        y = diff_augment(x, [name], rng())
        assert torch.allclose(y[:, 0, 8, 8], torch.ones(200), atol=1e-4)
        assert y.min() >= -1 - 1e-5
    x[:, :, 8, 8] = -1.0
    weight = diff_augment(x, ["rotation"], rng()) + 1
    places = torch.arange(17.0) - 8
    down = (weight * places.view(1, 1, 17, 1)).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    across = (weight * places.view(1, 1, 1, 17)).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    radius = torch.hypot(down, across)
    assert radius.min() > 3.5 and radius.max() < 4.5  # 4 pixels away from the centre, as before
    angles = torch.atan2(down, across)
    assert angles.min() < -2.5 and angles.max() > 2.5  # all the way round


def test_affine_stays_small() -> None:
    x = torch.full((500, 1, 25, 25), -1.0)
    x[:, :, 12, 12] = 1.0
    y = diff_augment(x, ["affine"], rng()) + 1
    places = torch.arange(25.0) - 12
    across = (y * places.view(1, 1, 1, 25)).sum((1, 2, 3)) / y.sum((1, 2, 3))
    assert across.abs().max() <= 0.08 * 25 + 0.1 and across.std() > 0.5


def test_flip_mirrors_half_of_the_images() -> None:
    x = torch.rand(2000, 1, 4, 4)
    y = diff_augment(x, ["flip"], rng())
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) | mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_ada_raises_p_while_the_discriminator_is_too_sure_and_lowers_it_else() -> None:
    ada = Adaptive(kimg=10.0, target=0.6, every=4)
    sure = torch.ones(50)
    for _ in range(3):
        ada.observe(sure)
    assert ada.p == 0  # it moves every fourth batch
    ada.observe(sure)
    assert ada.p == pytest.approx(4 * 50 / 10_000)  # images over those that take p from 0 to 1
    for _ in range(20 * 4):
        ada.observe(sure)
    assert ada.p == pytest.approx(21 * 0.02)
    unsure = torch.cat([torch.ones(39), -torch.ones(11)])  # mean sign .56
    before = ada.p
    for _ in range(4):
        ada.observe(unsure)
    assert ada.p == pytest.approx(before - 0.02)
    for _ in range(1000):
        ada.observe(-sure)
    assert ada.p == 0
    for _ in range(10_000):
        ada.observe(sure)
    assert ada.p == Adaptive.MOST


def test_ada_drives_a_discriminator_that_augmentation_weakens_to_its_target() -> None:
    """A stand-in whose mean sign is 1 - p: the controller settles where it is the target."""
    ada, draws = Adaptive(kimg=20.0, target=0.6), rng()
    for _ in range(3000):
        ada.observe(torch.where(torch.rand(64, generator=draws) < ada.p / 2, -1.0, 1.0))
    assert ada.p == pytest.approx(0.4, abs=0.08)


def test_ada_goes_through_its_state() -> None:
    one, other = Adaptive(kimg=10.0), Adaptive(kimg=10.0)
    for _ in range(6):
        one.observe(torch.ones(30))
    other.load_state_dict(one.state_dict())
    for ada in (one, other):
        for _ in range(2):
            ada.observe(torch.ones(30))
    assert one.state_dict() == other.state_dict() and one.p == pytest.approx(2 * 0.012)
