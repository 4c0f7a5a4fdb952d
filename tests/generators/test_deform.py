from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts import fresh, steps, tiny

from augpipe.core.images import ImageSet, provenance
from augpipe.generators.models.deform import Deform
from augpipe.nn.deformation import multi_scale_error, roughness, warp


def build(train: ImageSet, here, seed: int = 0, **options) -> Deform:
    generator = fresh("deform", train, here, seed, **options)
    assert isinstance(generator, Deform)
    return generator


def shifted_bars(classes: int, each: int, rare: int = 0) -> ImageSet:
    """16 px: a class is a bar at a height of its own, whose images differ by where it lies from left to right."""
    labels = np.repeat(np.arange(classes), [each] * (classes - bool(rare)) + [rare] * bool(rare))
    images = np.zeros((len(labels), 1, 16, 16), np.uint8)
    for row, label in enumerate(labels):
        left = 4 + 2 * (row % 3)
        images[row, 0, 2 + label % 6 : 8 + label % 6, left : left + 4] = 255
    ids = [str(row) for row in range(len(labels))]
    return ImageSet(images, labels.astype(np.int64), tuple(f"c{c}" for c in range(classes)), provenance(ids))


def test_no_displacement_is_the_image_and_one_pixel_is_a_shift() -> None:
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    still, none = torch.zeros(2, 2, 3), torch.zeros(2, 2, 4, 4)
    assert torch.allclose(warp(x, still, none), x, atol=1e-6)
    right = still.clone()
    right[:, 0, 2] = 2 / 8  # x' = x + one pixel, in halves of 8 pixels
    expected = torch.cat([x[..., 1:], x[..., -1:]], -1)  # the border is repeated
    assert torch.allclose(warp(x, right, none), expected, atol=1e-6)
    field = none.clone()
    field[:, 1] = 2 / 8  # y' = y + one pixel, everywhere
    assert torch.allclose(warp(x, still, field), torch.cat([x[:, :, 1:], x[:, :, -1:]], 2), atol=1e-6)


def test_errors_of_three_scales_and_roughness_by_hand() -> None:
    a = torch.zeros(1, 1, 4, 4)
    b = a.clone()
    b[..., 0, 0] = 1  # means of squares: 1/16 at full size, 1/4 * (1/4)² at half, (1/16)² at a quarter
    assert multi_scale_error(a, b).item() == pytest.approx(1 / 16 + 1 / 64 + 1 / 256)
    field = torch.zeros(1, 2, 2, 2)
    field[0, 0, 0, 0] = 2  # one of four differences is 2, down and across
    assert roughness(field).item() == pytest.approx(1 + 1)


def test_pairs_are_two_images_of_a_source_class_and_every_pair_comes(here, make_shapes) -> None:
    train = make_shapes((4, 3, 2, 1))
    generator = build(train, here)
    assert generator.sources.tolist() == [0, 1]  # at least the median of 3 images
    first, second = generator._pairs(2000, torch.Generator().manual_seed(0))
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == {(i, j) for i in range(7) for j in range(7) if train.labels[i] == train.labels[j] and i != j}
    assert build(train, here, source_images=2).sources.tolist() == [0, 1, 2]


def test_no_pixel_is_painted(here, make_shapes) -> None:
    train = make_shapes((6, 5))
    train.images[1:] = train.images[1:].clip(40, 90)
    generator = build(train, here, reach=1.0, pairs=40)
    steps(generator, train, 3)
    images, parents = generator.derive(torch.tensor([0, 1] * 20), torch.Generator().manual_seed(1))
    for image, parent in zip(images, train.images[parents.numpy()], strict=True):
        assert parent.min() <= image.min() and image.max() <= parent.max()


def test_how_rich_classes_vary_is_applied_to_a_class_of_one_image(here) -> None:
    """Bars of rich classes lie left, in the middle or right, each at its height: so do images of the single bar."""
    train = shifted_bars(7, 6, rare=1)
    generator = build(train, here, width=8, pairs=64, smoothness=0.1, learning_rate=2e-3)
    steps(generator, train, 60, batch=16)
    images = generator.sample(torch.full((60,), 6), torch.Generator().manual_seed(0)).double() / 255
    mass = images.sum((2, 3)).squeeze(1)
    column = (images.sum(2).squeeze(1) * torch.arange(16)).sum(1) / mass
    row = (images.sum(3).squeeze(1) * torch.arange(16)).sum(1) / mass
    assert column.std() > 1 and column.std() > 3 * row.std()


def test_another_generator_s_pairs_are_drawn_from_until_a_step_is_trained(here, make_shapes) -> None:
    other = build(make_shapes((6, 6, 6)), here)
    steps(other, make_shapes((6, 6, 6)), 2)
    rng = torch.Generator
    expected = other.latents(torch.zeros(9, dtype=torch.int64), rng().manual_seed(1))
    started = build(make_shapes((2, 1)), here, seed=1)
    started.warm_start(other.state_dict())
    assert torch.equal(started.latents(torch.zeros(9, dtype=torch.int64), rng().manual_seed(1)), expected)
    steps(started, make_shapes((2, 1)), 1)
    assert not torch.equal(started.latents(torch.zeros(9, dtype=torch.int64), rng().manual_seed(1)), expected)


def test_few_source_classes_are_warned_of() -> None:
    (line,) = tiny("deform").warnings({c: 5 + c for c in range(10)})
    assert line.startswith("deform learns from 5 of 10 classes")
    assert not [*tiny("deform").warnings(dict.fromkeys(range(20), 14))]
