"""What of a latent space can be shown: of which families, and that its ends are the images that they should be."""

from __future__ import annotations

import pytest
import torch
from contracts import VARIANTS, few_images_for_statistics, fresh

from augpipe.generators import explore
from augpipe.generators.protocol import Latent
from augpipe.nn.class_tables import class_tables

# Family → what is left out for which words: walk, way between classes, arithmetic, truncation.
LEFT_OUT = {
    "acgan": ("", "", "drawn alike for all classes", ""),
    "bagan": ("", "", "", ""),
    "cgan": ("", "", "drawn alike for all classes", ""),
    "cvae": ("", "", "", ""),
    "cvae, prior": ("", "", "drawn alike for all classes", ""),
    "cvae, between": ("", "", "", "interpolates between images"),
    "dagan": (*["depends on a training image besides its latent"] * 3, ""),
    "dcgan, per class": ("", *["each class has a model of its own"] * 2, ""),
    "deepsmote": ("", "", "", "interpolates between images"),
    "diffusion": (*["depend on noise of every level"] * 3, "train with guidance"),
    "pixelcnn": ("draws pixel by pixel",) * 4,
    "progan": ("", "", "drawn alike for all classes", "projected to a sphere"),
    "smote": ("it has no latents", "it has no latents", "it has no latents", "it has no latents"),
    "stylegan": ("", "", "", ""),
}


@pytest.fixture(autouse=True)
def quick():
    with few_images_for_statistics():
        yield


def vary(model) -> None:
    """Weights at which images vary with latents and classes: at the start of a training many families draw grey."""
    rng = torch.Generator().manual_seed(1)
    for part in getattr(model, "models", [model]):
        if hasattr(part, "ema"):
            part._stale = True
            for value in part.ema.module.parameters():
                value.data.normal_(0, max(0.3, float(value.std(correction=0))), generator=rng)
        if hasattr(part, "gaussians"):  # of each class, which a training fits
            part.ready = part._fitted = True
            part.gaussians.means.normal_(generator=rng)
            part.gaussians.factors[:] = torch.eye(part.latent)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_ends_are_the_images_of_the_classes_and_the_rest_has_a_reason(name: str, make_shapes, here) -> None:
    family, options = VARIANTS.get(name, (name, {}))
    model = fresh(family, make_shapes((6, 6, 6), size=16), here, **options)
    vary(model)
    walk, between, arithmetic, truncated = LEFT_OUT[name]
    assert walk in explore.why_not(model, "not_decoded") and bool(walk) == bool(explore.why_not(model, "not_decoded"))
    assert truncated in explore.why_not(model, "not_truncated")
    assert bool(truncated) == bool(explore.why_not(model, "not_truncated"))
    for attribute, words in (("not_blended", between), ("not_shifted", arithmetic)):
        why = explore.why_not_between(model, attribute)
        assert words in why and bool(words) == bool(why)
    if not truncated:
        strips = {strip.caption: strip.images for strip in explore.truncations(model, 1, 5)}
        assert list(strips) == ["truncation 0.3", "truncation 0.5", "truncation 0.7", "truncation 1"]
        assert torch.equal(strips["truncation 1"], explore.samples(model, 1, 5))
        assert not torch.equal(strips["truncation 0.3"], strips["truncation 1"])
    if walk:
        return
    walks, again = (list(explore.walks(model, 1, 5)) for _ in range(2))
    assert all(torch.equal(a.images, b.images) for a, b in zip(walks, again, strict=True))
    assert walks[0].images.shape == (explore.STEPS, 1, 16, 16)
    if between:
        return
    assert isinstance(model, Latent)
    tables = list(class_tables(model.averaged()))
    before = [table.clone() for table in tables]
    strips = list(explore.between_classes(model, (2, 0), 5))
    for column, label in ((0, 2), (-1, 0)):
        points = explore._points(model, label, (2, 0), 5)
        ends = torch.stack([strip.images[column] for strip in strips])
        assert (ends.int() - model.decode(points, torch.full((explore.ROWS,), label)).int()).abs().max() <= 1
    assert not torch.equal(strips[0].images[0], strips[0].images[-1])
    assert all(torch.equal(a, b) for a, b in zip(before, tables, strict=True))
    if not arithmetic:
        added = list(explore.arithmetic(model, (2, 0), 5))
        points, label = explore._points(model, 2, (2, 0), 5), torch.full((explore.ROWS,), 2)
        assert torch.equal(torch.stack([strip.images[0] for strip in added]), model.decode(points, label))


def test_points_of_a_walk_are_as_likely_as_draws(make_shapes, here) -> None:
    model = fresh("bagan", make_shapes((4, 4), size=16), here)
    model.ready = True
    model.gaussians.means[:] = torch.tensor([[5.0], [-2.0]])
    model.gaussians.factors[:] = 3 * torch.eye(8)
    rng, labels = torch.Generator().manual_seed(0), torch.ones(4000, dtype=torch.int64)
    first, second = model.points(labels, rng), model.points(labels, rng)
    middle = model.walk(first, second, 1, 0.5)
    assert middle.mean() == pytest.approx(-2, abs=0.1) and middle.std() == pytest.approx(3, abs=0.05)
    torch.testing.assert_close(model.walk(first, second, 1, 0.0), first)
    torch.testing.assert_close(model.walk(first, second, 1, 1.0), second)


def test_arithmetic_adds_the_difference_of_the_means(make_shapes, here) -> None:
    model = fresh("bagan", make_shapes((4, 4), size=16), here)
    model.ready = True
    model.gaussians.means[:] = torch.tensor([[1.0], [-2.0]])
    model.averaged()
    points, label = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(3, dtype=torch.int64)
    assert torch.equal(model.shifted(points, 0, 1, 0.5), model.decode(points - 1.5, label))
