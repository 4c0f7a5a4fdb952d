from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts import steps, tiny

from augpipe import generators, synthesis
from augpipe.generators import Problem, dagan
from augpipe.generators.dagan import DAGAN
from augpipe.images import ImageSet, ImageSpec
from augpipe.runtime import Runtime
from augpipe.store import Store, load_images


def made(train: ImageSet, here: Runtime, **options) -> DAGAN:
    found = generators.build(tiny("dagan", **options), Problem(train.spec, train.classes), here, 0)
    found.prepare(train)
    assert isinstance(found, DAGAN)
    return found


def test_pairs_are_of_one_class(here, make_shapes, monkeypatch) -> None:
    train = make_shapes((9, 7, 5))
    generator = made(train, here)
    asked: list[torch.Tensor] = []
    real = generator._drawn

    def spy(labels: torch.Tensor, rng: torch.Generator):
        rows, images = real(labels, rng)
        asked.append(torch.stack([labels, torch.from_numpy(train.labels)[rows]]))
        return rows, images

    monkeypatch.setattr(generator, "_drawn", spy)
    steps(generator, train, 6)
    pairs = torch.cat(asked, 1)
    assert pairs.shape[1] == 6 * 8 and torch.equal(pairs[0], pairs[1])


def test_the_critic_sees_both_images_of_a_pair(here) -> None:
    problem = Problem(ImageSpec(16, 3), ("a", "b"))
    critic = dagan.CriticNet(tiny("dagan", dropout=0.0), problem).eval()
    one, other = torch.randn(2, 2, 3, 16, 16).unbind(0)
    pair = torch.cat([one, other], 1).requires_grad_()
    critic(pair).sum().backward()
    assert pair.grad is not None
    assert (pair.grad[:, :3].abs().sum() > 0) and (pair.grad[:, 3:].abs().sum() > 0)


def test_a_generator_update_comes_every_so_many_critic_updates(here, make_shapes) -> None:
    train = make_shapes((9, 7))
    told = steps(made(train, here, critic_steps=3), train, 7)
    assert ["loss_g" in losses for losses in told] == [
        False,
        False,
        True,
        False,
        False,
        True,
        False,
    ]


def test_what_comes_out_depends_on_the_image_and_on_the_noise(here, make_shapes) -> None:
    train = make_shapes((9, 7))
    generator = made(train, here)
    one = torch.randn(1, 1, 16, 16).expand(2, -1, -1, -1)
    g = generator.ema.module
    z = torch.randn(2, 8)
    assert not torch.equal(g(one, z)[0], g(one, z)[1])
    both = torch.randn(2, 1, 16, 16)
    assert not torch.equal(g(both, z[:1].expand(2, -1))[0], g(both, z[:1].expand(2, -1))[1])


def test_both_images_of_a_pair_are_augmented_alike_and_apart(here, make_shapes) -> None:
    train = make_shapes((9, 7))
    generator = made(train, here, augment=("contrast", "translation"))
    dark, light = torch.full((4, 1, 16, 16), -0.9), torch.full((4, 1, 16, 16), 0.9)
    pair = generator._pair(dark, light)
    inner = pair[:, :, 4:12, 4:12]
    # A flat image has no contrast to change, whatever its partner looks like.
    assert torch.allclose(inner[:, 0], dark[:, 0, 4:12, 4:12], atol=1e-5)
    assert torch.allclose(inner[:, 1], light[:, 0, 4:12, 4:12], atol=1e-5)
    same = generator._pair(light, light)
    assert torch.equal(same[:, 0], same[:, 1])  # one draw for both


def test_a_class_that_train_lacks_has_nothing_to_start_from(here, make_shapes) -> None:
    full = make_shapes((9, 7, 8))
    generator = made(full.take(np.flatnonzero(full.labels != 1)), here)
    with pytest.raises(ValueError, match="no image of class 1"):
        generator.sample(torch.tensor([0, 1]), torch.Generator())


@pytest.mark.parametrize("size", [16, 28, 30, 64])
def test_skips_fit_at_any_size(size: int) -> None:
    problem = Problem(ImageSpec(size, 1), ("a", "b"))
    g = dagan.GeneratorNet(tiny("dagan", dropout=0.0), problem)
    assert g(torch.zeros(2, 1, size, size), torch.zeros(2, 8)).shape == (2, 1, size, size)


def test_noise_comes_in_as_8_4_and_2_maps() -> None:
    g = dagan.GeneratorNet(tiny("dagan"), Problem(ImageSpec(64, 1), ("a", "b")))
    assert [maps for _, maps in g.places] == [8, 4, 2]
    assert [size for size, _ in g.places] == [4, 8, 16]


def test_synthetic_images_carry_parents_and_their_groups(here, make_shapes, tmp_path) -> None:
    train = make_shapes((9, 7))
    train.table["group"] = [f"patient{row // 2}" for row in range(len(train))]
    generator = made(train, here)
    steps(generator, train, 2)
    ref = synthesis.sample(generator, {0: 4, 1: 6}, train, name="d", seed=0, store=Store(tmp_path))
    table = load_images(ref).table
    rows = [train.table["id"].tolist().index(parent) for parent in table["parent"]]
    assert np.array_equal(train.labels[rows], [0] * 4 + [1] * 6)
    assert table["group"].tolist() == train.table["group"].to_numpy()[rows].tolist()
