from __future__ import annotations

import pytest
import torch

from augpipe.core.device import Runtime
from augpipe.core.image_spec import ImageSpec
from augpipe.generators import fit as training
from augpipe.generators.models import acgan
from augpipe.generators.protocol import Problem
from augpipe.generators.ticks import Hooks
from augpipe.nn.blocks import Dropout


def nets(size: int, width: float = 1.0) -> tuple[acgan.GeneratorNet, acgan.DiscriminatorNet]:
    config = acgan.Config(kind="acgan", width=width)
    problem = Problem(ImageSpec(size, 3), tuple("abcd"))
    return acgan.GeneratorNet(config, problem), acgan.DiscriminatorNet(config, problem)


def test_topology_at_32_px_is_the_papers() -> None:
    g, d = nets(32)
    up = [*g.up, g.last]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in up] == [
        (384, 192, 4, 2),
        (192, 96, 4, 2),
        (96, 3, 4, 2),
    ]
    convs = [m for m in d.trunk if isinstance(m, torch.nn.Conv2d)]
    assert [(m.out_channels, m.stride[0]) for m in convs] == [(16, 2), (32, 1), (64, 2), (128, 1), (256, 2), (512, 1)]
    norms = [
        type(b).__name__ for a, b in zip(d.trunk, list(d.trunk)[1:], strict=False) if isinstance(a, torch.nn.Conv2d)
    ]
    assert norms == ["LeakyReLU"] + ["BatchNorm2d"] * 5  # none after the first
    assert sum(isinstance(m, Dropout) for m in d.trunk) == 6


@pytest.mark.parametrize("size", [16, 28, 32, 48, 64, 128])
def test_every_size_ends_where_it_should(size: int) -> None:
    g, d = nets(size, width=0.1)
    x = g(torch.rand(2, 100), torch.tensor([0, 3]))
    assert x.shape == (2, 3, size, size) and x.abs().max() <= 1
    real, classes = d.eval()(x)
    assert real.shape == (2,) and classes.shape == (2, 4)


def test_it_learns_which_class_is_which(here: Runtime, make_shapes) -> None:
    """Trained for a minute's fraction, it puts the bar where the asked class has it."""
    train = make_shapes((60, 60, 8))
    config = acgan.Config(
        kind="acgan",
        width=0.12,
        latent=16,
        batch=32,
        kimg=10,
        ticks=1,
        learning_rate=1e-3,
        dropout=0.1,
        augment=("translation",),
        ema_half_kimg=1.0,
    )
    generator = acgan.build(config, Problem(train.spec, train.classes), here, 0)
    training.fit(generator, train, config, here, seed=0, hooks=Hooks(lambda g: 0.0))
    labels = torch.arange(3).repeat_interleave(30)
    images = generator.sample(labels, torch.Generator().manual_seed(0)).float()
    means = torch.stack([torch.from_numpy(train.images[train.labels == c]).float().mean(0) for c in range(3)])
    gaps = ((images[:, None] - means[None]) ** 2).mean((2, 3, 4))
    right = (gaps.argmin(1) == labels).float().view(3, 30).mean(1)
    assert right.min() >= 0.9, right


def test_unknown_augmentation_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown augmentation 'rotate'.*choose from brightness"):
        acgan.Config(kind="acgan", augment=("rotate",))


def test_class_conditional_norm_spectral_norm_and_embedding_are_where_they_are_asked_for() -> None:
    problem = Problem(ImageSpec(16, 1), tuple("abc"))
    plain = acgan.Config(kind="acgan", width=0.1)
    told = acgan.Config(kind="acgan", width=0.1, spectral=True, conditional_norm=True, class_loss="d2d", embedding=24)
    kinds = [
        {
            type(m).__name__
            for net in (acgan.GeneratorNet(c, problem), acgan.DiscriminatorNet(c, problem))
            for m in net.modules()
        }
        for c in (plain, told)
    ]
    assert "ConditionalBatchNorm2d" not in kinds[0] and "ConditionalBatchNorm2d" in kinds[1]
    d = acgan.DiscriminatorNet(told, problem)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in d.modules())
    real, embedding = d.eval()(torch.randn(5, 1, 16, 16))
    assert real.shape == (5,) and embedding.shape == (5, 24)
    cosine = d.class_logits(embedding)
    assert cosine.shape == (5, 3) and cosine.abs().max() <= 1 + 1e-5


def test_hinge_has_no_smoothed_labels() -> None:
    with pytest.raises(ValueError, match="real_target applies to loss: bce"):
        acgan.Config(kind="acgan", loss="hinge", real_target=0.8)
