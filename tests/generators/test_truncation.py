"""Truncated latents: by the formula, in every family that has them, and refused where they have no effect."""

from __future__ import annotations

import pytest
import torch
from contracts import few_images_for_statistics, tiny

from augpipe.core import device as runtime
from augpipe.core.errors import UserError
from augpipe.core.image_spec import ImageSpec
from augpipe.generators import families
from augpipe.generators.latents import LatentGenerator
from augpipe.generators.protocol import Problem
from augpipe.generators.truncation import truncate

PROBLEM = Problem(ImageSpec(16, 1), ("a", "b"))
LABELS = torch.tensor([0, 1, 1, 0])


def build(name: str, **more):
    return families.build(tiny(name, **more), PROBLEM, runtime.start("cpu", threads=1), 0)


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("name", ["acgan", "bagan", "cgan", "dcgan", "cvae"])
def test_latents_move_towards_their_means(name: str) -> None:
    model = build(name)
    assert isinstance(model, LatentGenerator)
    if name in {"bagan", "cvae"}:  # each class has a mean of its own
        model.ready = True
        model.gaussians.means[:] = torch.tensor([[5.0], [-2.0]])
        model.gaussians.factors[:] = torch.eye(8)
    means = torch.tensor([5.0, -2.0])[LABELS][:, None] if name in {"bagan", "cvae"} else torch.zeros(4, 1)
    z = model.latents(LABELS, stream())
    assert torch.equal(model.truncated_latents(LABELS, stream()), z)  # not asked for: not a bit
    truncate(model, 0.3, name)
    moved = model.truncated_latents(LABELS, stream())
    torch.testing.assert_close(moved - means, 0.3 * (z - means))


def test_images_of_nearly_no_latent_are_all_alike() -> None:
    with few_images_for_statistics():
        model = build("cgan")
        varied = model.sample(torch.zeros(8, dtype=torch.int64), stream()).float()
        truncate(model, 1e-6, "cgan")
        alike = model.sample(torch.zeros(8, dtype=torch.int64), stream()).float()
    assert alike.std(0).max() < 1 < varied.std(0).max()


def test_each_class_of_a_model_per_class_is_truncated() -> None:
    model = build("dcgan", per_class=True)
    truncate(model, 0.5, "dcgan")
    assert [part.truncation for part in model.models] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("smote", "it has no latents"),
        ("deepsmote", "interpolates between images"),
        ("progan", "projected to a sphere"),
        ("diffusion", "noise of every level"),
        ("pixelcnn", "draws pixel by pixel"),
    ],
)
def test_where_it_has_no_effect_it_is_refused(name: str, why: str) -> None:
    with pytest.raises(UserError, match=f"--truncation has no effect on {name}: .*{why}"):
        truncate(build(name), 0.5, name)
    with pytest.raises(UserError, match=r"must be above 0 and at most 1; got 1\.5"):
        truncate(build("cgan"), 1.5, "cgan")


def test_noise_beside_a_training_image_is_truncated(make_shapes) -> None:
    with few_images_for_statistics():
        model = build("dagan")
        model.prepare(make_shapes((4, 4), size=16, channels=1))
        whole, again = (model.derive(LABELS, stream()) for _ in range(2))
        truncate(model, 0.2, "dagan")
        moved = model.derive(LABELS, stream())
    assert torch.equal(whole.images, again.images)
    assert torch.equal(whole.parents, moved.parents) and not torch.equal(whole.images, moved.images)
