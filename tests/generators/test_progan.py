from __future__ import annotations

import pytest
import torch
from contracts import fresh, steps, tiny
from torch.nn import functional as F

from augpipe.core.image_spec import ImageSpec
from augpipe.generators.models import progan
from augpipe.generators.models.progan import ProGAN
from augpipe.generators.protocol import Problem
from augpipe.nn.blocks import EqualConv2d, EqualLinear, initialise


def nets(classes: int = 2) -> tuple[progan.GeneratorNet, progan.CriticNet]:
    problem = Problem(ImageSpec(32, 3), tuple("abcdefgh"[:classes]))
    config = tiny("progan")
    g, d = progan.GeneratorNet(config, problem), progan.CriticNet(config, problem)
    for net in (g, d):
        initialise(net, torch.Generator().manual_seed(0))
    return g, d


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_fade_leads_from_the_lower_generator_to_the_higher(level: int) -> None:
    g, _ = nets()
    g.level = level - 1
    lower = g(*inputs())
    assert lower.shape[2] == 4 * 2 ** (level - 1)
    g.level, g.alpha = level, 1.0
    higher = g(*inputs())
    g.alpha = 1e-7  # towards 0 it is the lower one, enlarged
    assert torch.allclose(g(*inputs()), F.interpolate(lower, scale_factor=2), atol=1e-5)
    g.alpha = 1 - 1e-7
    assert torch.allclose(g(*inputs()), higher, atol=1e-5)
    g.alpha = 0.25
    mixed = 0.75 * F.interpolate(lower, scale_factor=2) + 0.25 * higher
    assert torch.allclose(g(*inputs()), mixed, atol=1e-5)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_fade_leads_from_the_lower_critic_to_the_higher(level: int) -> None:
    _, d = nets()
    labels = torch.tensor([0, 1, 1, 0])
    x = torch.randn(4, 3, 4 * 2**level, 4 * 2**level, generator=torch.Generator().manual_seed(1))
    d.level = level - 1
    lower = d(F.avg_pool2d(x, 2), labels)
    d.level, d.alpha = level, 1.0
    higher = d(x, labels)
    d.alpha = 1e-7
    assert torch.allclose(d(x, labels), lower, atol=1e-4)
    d.alpha = 1 - 1e-7
    assert torch.allclose(d(x, labels), higher, atol=1e-4)
    assert not torch.allclose(lower, higher, atol=1e-3)


def test_reals_fade_too(here, make_shapes) -> None:
    generator = built(here, make_shapes, kimg=2.0, growth=0.5)
    x = torch.randn(2, 1, 16, 16)
    generator.seen = 375  # halfway through the first fade: parts are 250 images long
    level, alpha = generator.phase()
    assert (level, alpha) == (1, 0.5)
    small = F.avg_pool2d(x, 2)
    smaller = F.interpolate(F.avg_pool2d(small, 2), scale_factor=2)
    assert torch.allclose(generator.shown(x), (small + smaller) / 2, atol=1e-6)


def built(here, make_shapes, **options) -> ProGAN:
    train = make_shapes((9, 9))
    found = fresh("progan", train, here, **options)
    assert isinstance(found, ProGAN)
    return found


def test_growth_takes_its_share_in_equal_parts(here, make_shapes) -> None:
    generator = built(here, make_shapes, kimg=2.0, growth=0.5)  # 16 px: two doublings, four parts
    found = []
    for seen in range(0, 2001, 50):
        generator.seen = seen
        found.append(generator.phase())
    levels = [level for level, _ in found]
    assert levels == sorted(levels) and levels[0] == 0 and levels[-1] == 2
    assert [level for level, _ in found[:6]] == [0, 0, 0, 0, 0, 1]  # 250 images of stabilising
    assert all(alpha == 1 for (_, alpha), seen in zip(found, range(0, 2001, 50), strict=True) if seen >= 1000)
    assert {alpha < 1 for level, alpha in found if level == 1} == {True, False}


def test_optimisers_start_anew_at_each_growth(here, make_shapes) -> None:
    generator = built(here, make_shapes, kimg=0.4, growth=0.5)  # parts of 50 images, 8 a step
    train = make_shapes((9, 9))
    ages = []
    for _ in range(25):
        steps(generator, train, 1)
        state = next(iter(generator.optimisers["g"].state.values()))
        ages.append((generator.g.level, int(state["step"])))
    for level in (1, 2):
        first = next(age for at, age in ages if at == level)
        assert first == 1
    assert generator.g.level == 2


def test_while_it_grows_samples_are_enlarged(here, make_shapes) -> None:
    generator = built(here, make_shapes, kimg=10.0)
    images = generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert images.shape == (2, 1, 16, 16)
    small = images[:, :, ::4, ::4]
    assert torch.equal(small.repeat_interleave(4, 2).repeat_interleave(4, 3), images)


def test_every_layer_is_equalised_and_pixel_norm_is_in_the_generator_alone(monkeypatch) -> None:
    g, d = nets(classes=1)
    for net in (g, d):
        kinds = {type(m) for m in net.modules() if list(m.parameters(recurse=False))}
        assert kinds <= {EqualConv2d, EqualLinear}
    normed: list[torch.Tensor] = []
    real = progan.pixel_norm
    monkeypatch.setattr(progan, "pixel_norm", lambda x: normed.append(x) or real(x))
    g.level = d.level = 3
    labels = torch.zeros(4, dtype=torch.int64)
    x = g(inputs()[0], labels)
    assert len(normed) == 1 + 2 + 2 * 3  # the latent, two layers at the base, two a block
    normed.clear()
    d(x, labels)
    assert normed == []


def test_latents_lie_on_the_unit_sphere_up_to_the_dimension() -> None:
    g, _ = nets(classes=1)
    z, labels = inputs()
    labels = torch.zeros_like(labels)
    assert torch.allclose(g(z, labels), g(z * 17, labels), atol=1e-5)  # the length does not count


def test_a_warm_start_goes_on_where_the_other_had_grown_to(here, make_shapes) -> None:
    train = make_shapes((9, 9))
    early, late, new = (built(here, make_shapes, kimg=0.2) for _ in range(3))
    steps(early, train, 2)
    steps(late, train, 25)
    assert early.phase() == (0, 1.0) and late.phase() == (2, 1.0)
    new.warm_start(early.state_dict())
    assert new.phase() == (0, 1.0)  # its upper layers have learned nothing yet
    new.warm_start(late.state_dict())
    assert new.phase() == (2, 1.0) and new.seen == 0
