from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts import fresh, steps, tiny

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.core.store import Store, load_images
from augpipe.generators.models.dagan import DAGAN
from augpipe.synthetic import draw as synthesis


def made(train: ImageSet, here: Runtime, **options) -> DAGAN:
    found = fresh("dagan", train, here, **options)
    assert isinstance(found, DAGAN)
    return found


def test_a_real_pair_is_two_images_of_one_class(here, make_shapes) -> None:
    train = make_shapes((9, 7, 2, 1))
    generator = made(train, here)
    images, labels = train.tensors()
    pixels = images.flatten(1).float()
    for _ in range(20):
        others = generator._others(images, labels).flatten(1).float()
        row = torch.cdist(others, pixels).argmin(1)
        assert torch.equal(torch.cdist(others, pixels).amin(1), torch.zeros(len(row)))
        assert torch.equal(labels[row], labels)
        same = row == torch.arange(len(row))
        # The last class has one image, and no other to stand beside it.
        assert same.tolist() == [False] * 18 + [True]


def test_every_other_image_of_a_class_comes_as_a_partner(here, make_shapes) -> None:
    train = make_shapes((4, 3))
    generator = made(train, here)
    images, labels = train.tensors()
    pixels = images.flatten(1).float()
    seen = set()
    for _ in range(60):
        others = generator._others(images, labels).flatten(1).float()
        seen |= set(enumerate(torch.cdist(others, pixels).argmin(1).tolist()))
    apart = {(i, j) for i in range(7) for j in range(7) if labels[i] == labels[j] and i != j}
    assert seen == apart


def test_a_generator_update_comes_every_so_many_critic_updates(here, make_shapes) -> None:
    train = make_shapes((9, 7))
    told = steps(made(train, here, critic_steps=3), train, 7)
    assert ["loss_g" in losses for losses in told] == [False, False, True, False, False, True, False]


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


def test_synthetic_images_carry_parents_and_their_groups(here, make_shapes, tmp_path) -> None:
    train = make_shapes((9, 7))
    train.table["group"] = [f"patient{row // 2}" for row in range(len(train))]
    generator = made(train, here)
    steps(generator, train, 2)
    sampled = synthesis.sample(generator, {0: 4, 1: 6}, train, name="d", seed=0, store=Store(tmp_path))
    table = load_images(sampled.images).table
    rows = [train.table["id"].tolist().index(parent) for parent in table["parent"]]
    assert np.array_equal(train.labels[rows], [0] * 4 + [1] * 6)
    assert table["group"].tolist() == train.table["group"].to_numpy()[rows].tolist()


def test_logistic_losses_are_those_of_the_scores(here, make_shapes) -> None:
    """Goodfellow et al. 2014 with R1 at reals alone, every `r1_every`-th step."""
    train = make_shapes((6, 6))
    generator = made(train, here, loss="logistic", dropout=0.0, r1=0.0)
    one, other = (torch.rand(4, 1, 16, 16) * 2 - 1 for _ in range(2))
    state = generator.rngs["noise"].get_state()
    told = generator._critic_loss(one, other)
    generator.rngs["noise"].set_state(state)
    with torch.no_grad():
        fake = torch.cat([one, generator._generate(one)], 1)
        on_real, on_fake = generator.d(torch.cat([one, other], 1)), generator.d(fake)
    expected = torch.log1p(torch.exp(-on_real)).mean() + torch.log1p(torch.exp(on_fake)).mean()
    assert told.item() == pytest.approx(expected.item(), rel=1e-4)

    generator.rngs["noise"].set_state(state)
    pair = torch.cat([one, other], 1).requires_grad_()
    (gradient,) = torch.autograd.grad(generator.d(pair).sum(), pair)
    generator.config = generator.config.model_copy(update={"r1": 0.5, "r1_every": 1})
    with_r1 = generator._critic_loss(one, other)
    penalty = 0.5 * gradient.square().flatten(1).sum(1).mean()
    assert (with_r1 - told).item() == pytest.approx(0.5 * penalty.item(), rel=1e-3)


def test_ada_needs_the_loss_whose_sign_means_something() -> None:
    assert tiny("dagan", loss="logistic", ada={"kimg": 1}).signed
    with pytest.raises(ValueError, match="ada needs a critic"):
        tiny("dagan", ada={"kimg": 1})


def test_strangers_are_of_another_class_and_count_as_asked(here, make_shapes) -> None:
    train = make_shapes((6, 5, 4))
    images, labels = train.tensors()
    generator = made(train, here, loss="logistic", dropout=0.0, r1=0.0, mismatched=0.25)
    strangers = generator._other_classes(labels)
    assert strangers is not None
    pixels = (images.float() / 127.5 - 1).flatten(1)
    of = labels[torch.cdist(strangers.flatten(1), pixels).argmin(1)]
    assert (of != labels).all()
    one = images.float() / 127.5 - 1
    state = generator.rngs["noise"].get_state()
    both = generator._critic_loss(one, one.flip(0), strangers)
    found = []
    for other in (None, strangers):
        generator.rngs["noise"].set_state(state)
        found.append(generator._critic_loss(one, one.flip(0), other))
    generator.rngs["noise"].set_state(state)
    with torch.no_grad():
        real, wrong = (generator.d(torch.cat([one, x], 1)) for x in (one.flip(0), strangers))
    mismatch = torch.log1p(torch.exp(-real)).mean() + torch.log1p(torch.exp(wrong)).mean()
    expected = 0.75 * found[0].item() + 0.25 * mismatch.item()
    assert both.item() == pytest.approx(expected, rel=1e-4) == found[1].item()


def test_one_class_has_no_strangers(here, make_shapes) -> None:
    train = make_shapes((6,))
    generator = made(train, here, loss="logistic", mismatched=0.5)
    assert generator._other_classes(torch.zeros(3, dtype=torch.int64)) is None
    steps(generator, train, 2)
