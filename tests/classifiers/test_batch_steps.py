"""Batched steps against the albumentations transforms that they stand for."""

from __future__ import annotations

import math

import albumentations as A
import numpy as np
import pytest
import torch
from albumentations.augmentations.geometric.functional import generate_displacement_fields
from torch.nn import functional as F

from augpipe.classifiers import batch_steps
from augpipe.classifiers.batch_steps import Simard, SmoothNoise, Step, Steps
from augpipe.classifiers.transforms import transform


def pictures(n: int, channels: int = 1, height: int = 24, width: int = 32) -> torch.Tensor:
    """Random pictures, uint8 (N,C,H,W), brighter at the left and at the top."""
    coarse = torch.rand(n, channels, 12, 12, generator=torch.Generator().manual_seed(7)) * 120
    ramp = torch.linspace(1.8, 0.6, 12)
    x = F.interpolate(coarse * ramp * ramp[:, None], (height, width), mode="bilinear", align_corners=True)
    return x.round().clamp(0, 255).to(torch.uint8)


def by_albumentations(x: torch.Tensor, pipeline: A.BasicTransform | A.BaseCompose) -> torch.Tensor:
    compose = A.Compose([pipeline])
    compose.set_random_seed(11)
    rows = [compose(image=row)["image"] for row in x.permute(0, 2, 3, 1).contiguous().numpy()]
    return torch.from_numpy(np.stack([np.atleast_3d(row) for row in rows])).permute(0, 3, 1, 2)


def fixed(change: batch_steps.Change, *parameters: float) -> Steps:
    return Steps([Step(change, 1.0, [(value, value) for value in parameters])], 0)


FIXED = {
    "scale": (fixed(batch_steps.affine, 1.1, 0.9, 0, 0, 0, 0, 0), A.Affine(scale={"x": 1.1, "y": 0.9}, p=1.0)),
    "shift": (
        fixed(batch_steps.affine, 1, 1, 0.08, -0.07, 0, 0, 0),
        A.Affine(translate_percent={"x": 0.08, "y": -0.07}, p=1.0),
    ),
    "rotation": (fixed(batch_steps.affine, 1, 1, 0, 0, 12, 0, 0), A.Affine(rotate=12.0, p=1.0)),
    "shear": (fixed(batch_steps.affine, 1, 1, 0, 0, 0, 6, -5), A.Affine(shear={"x": 6.0, "y": -5.0}, p=1.0)),
    "affine": (
        fixed(batch_steps.affine, 0.9, 1.1, -0.08, 0.08, -9, 4, 6),
        A.Affine(
            scale={"x": 0.9, "y": 1.1},
            translate_percent={"x": -0.08, "y": 0.08},
            rotate=-9.0,
            shear={"x": 4.0, "y": 6.0},
            p=1.0,
        ),
    ),
    "mirror": (fixed(batch_steps.mirror), A.HorizontalFlip(p=1.0)),
    "brightness and contrast": (
        fixed(batch_steps.brightness_contrast, 0.15, -0.2),
        A.RandomBrightnessContrast((0.15, 0.15), (-0.2, -0.2), p=1.0),
    ),
    "gamma": (fixed(batch_steps.gamma, 1.25), A.RandomGamma((125, 125), p=1.0)),
    "blur": (fixed(batch_steps.blur_or_noise, 0, 0.8, 0), A.GaussianBlur((3, 3), (0.8, 0.8), p=1.0)),
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_is_that_of_albumentations_with_the_same_parameters(name: str, channels: int) -> None:
    """albumentations places pixels to 1/32 and cuts decimals off, where steps round: up to half a grey value."""
    steps, reference = FIXED[name]
    x = pictures(4, channels)
    expected = by_albumentations(x, reference).float()
    difference = (steps(x).float() - expected).abs().mean()
    assert float((x.float() - expected).abs().mean()) > 3  # it changes something
    assert float(difference) < 0.5


def test_noise_has_the_requested_deviation_and_the_patch_the_requested_size() -> None:
    x = torch.full((200, 3, 20, 30), 100, dtype=torch.uint8)
    noisy = fixed(batch_steps.blur_or_noise, 1, 1, 0.04)(x).float()
    assert float(noisy.mean()) == pytest.approx(100, abs=0.2)
    assert float(noisy.std()) == pytest.approx(0.04 * 255, rel=0.02)
    erased = Steps([Step(batch_steps.erase, 1.0, [(0.2, 0.2), (0.3, 0.3), (0, 1), (0, 1)])], 0)(x)
    assert ((erased == 0).sum((1, 2, 3)) == 3 * 4 * 9).all()
    places = (erased[:, 0] == 0).any(0)
    assert bool(places.any(0).all()) and bool(places.any(1).all())  # up to each border


def test_smooth_displacements_are_those_of_albumentations() -> None:
    """Of x alone: albumentations smooths x and y as one picture, so that the last rows of x join the first of y."""
    size, n = (24, 32), 150
    ours = SmoothNoise(6.0, 3.0).displacements(n, size, torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    theirs = torch.from_numpy(
        np.stack([generate_displacement_fields(size, 6.0, 3.0, False, (0, 0), rng, "gaussian") for _ in range(n)])
    )
    for rows in (slice(0, 1), slice(12, 13)):  # stronger at the border, where the noise repeats
        assert float(ours[:, 0, rows].std()) == pytest.approx(float(theirs[:, 0, rows].std()), rel=0.1)
        assert float(ours[:, 1, rows].std()) == pytest.approx(float(ours[:, 0, rows].std()), rel=0.1)
    neighbours = [float((d[..., 4:] * d[..., :-4]).mean() / d.square().mean()) for d in (ours[:, 0], theirs[:, 0])]
    assert neighbours[0] == pytest.approx(neighbours[1], abs=0.03)


def pipeline(*steps: A.BasicTransform | A.BaseCompose) -> A.Compose:
    affine = A.Affine(scale=(0.9, 1.1), translate_percent=(-0.08, 0.08), rotate=(-12, 12), shear=(-6, 6), p=0.9)
    return A.Compose([affine, *steps])


REFERENCES = {
    "light": pipeline(A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.3)),
    "medical": pipeline(
        A.ElasticTransform(alpha=6.0, sigma=3.0, p=0.2),
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.2, p=0.6),
        A.RandomGamma(gamma_limit=(80, 125), p=0.3),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 3), p=1.0), A.GaussNoise(std_range=(0.01, 0.04), p=1.0)], p=0.3),
    ),
    "faces": A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            pipeline(
                A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.6),
                A.CoarseDropout(
                    num_holes_range=(1, 1), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.3
                ),
            ),
        ]
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_policy_changes_pictures_as_the_pipeline_of_albumentations_does(name: str) -> None:
    """Of many versions of a picture: mean and deviation of each pixel, and how far each version is from it."""
    x = pictures(1).expand(800, -1, -1, -1)
    ours = transform(name, 0)(x).float()
    theirs = by_albumentations(x, REFERENCES[name]).float()
    assert float((ours.mean(0) - theirs.mean(0)).abs().mean()) < 2.0
    assert float(ours.std(0).mean()) == pytest.approx(float(theirs.std(0).mean()), rel=0.06)
    distance = [(y - x).abs().mean((1, 2, 3)).sort().values for y in (ours, theirs)]
    assert float((distance[0] - distance[1]).abs().mean()) < 0.08 * float(distance[1].mean())


@pytest.mark.parametrize("name", ["light", "medical", "faces", "elastic"])
@pytest.mark.parametrize("side", [15, 16])
def test_draws_do_not_depend_on_how_images_are_divided_into_batches(name: str, side: int) -> None:
    x, whole, divided = pictures(41, 3, side, side), transform(name, 5), transform(name, 5)
    together = whole(x).int()
    one_by_one = torch.cat([divided(part) for part in x.split([1, 17, 2, 21])]).int()
    # Products of matrices may be rounded in another order.
    assert int((together - one_by_one).abs().max()) <= 1
    assert float((together != one_by_one).float().mean()) < 1e-3


def test_large_batches_are_changed_in_pieces_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(20)
    whole = transform("faces", 1)(x)
    monkeypatch.setattr(batch_steps, "CHUNK", 3 * x[0].numel())
    assert torch.equal(whole, transform("faces", 1)(x))


def test_elastic_displacements_are_as_strong_as_told_and_alike_at_rim_and_centre() -> None:
    """Simard et al.: uniform noise in [-1, 1] has a deviation of 1/sqrt(3);
    a Gaussian of sigma leaves 1/(2 sqrt(pi) sigma) of it.
    """
    bent = Simard().displacements(2500, (28, 28), torch.Generator().manual_seed(0))
    expected = 20 / 3**0.5 / (2 * math.pi**0.5 * 4)
    deviation = bent.std((0, 1))
    assert float(deviation.mean()) == pytest.approx(expected, rel=0.03)
    assert float(deviation.max() / deviation.min()) < 1.15
    # Smooth: pixels s apart are alike by exp(-s² / 4 sigma²); x and y are drawn apart.
    next_but_three = (bent[..., 4:] * bent[..., :-4]).mean() / bent.square().mean()
    assert float(next_but_three) == pytest.approx(math.exp(-(4**2) / 4 / 4**2), abs=0.04)
    assert abs(float((bent[:, 0] * bent[:, 1]).mean() / bent.square().mean())) < 0.03


@pytest.mark.parametrize("side", [28, 56, 140])
def test_elastic_moves_a_picture_by_its_field_whatever_its_size(side: int) -> None:
    """A ramp from left to right shows where each pixel came from; of equal draws the same part of the side."""
    ramp = torch.linspace(60, 190, side).round().to(torch.uint8).expand(40, 1, side, side)
    none = torch.empty(40, 0)
    found = Simard()(ramp.float(), none, torch.Generator().manual_seed(3))
    field = Simard().displacements(40, (28, 28), torch.Generator().manual_seed(3))[:, 0] / 28  # of the side
    inner = slice(side // 4, 3 * side // 4)
    moved = (found - ramp.float())[:, 0, inner, inner] / (190 - 60)
    moved = F.adaptive_avg_pool2d(moved, 7).flatten()
    told = F.adaptive_avg_pool2d(field[:, 7:21, 7:21], 7).flatten()
    assert float((moved - told).abs().mean()) < 0.1 * float(told.abs().mean())
