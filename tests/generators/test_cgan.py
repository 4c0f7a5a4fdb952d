from __future__ import annotations

import pytest
import torch
from contracts import steps, tiny

from augpipe.core.image_spec import ImageSpec
from augpipe.core.images import ImageSet, provenance
from augpipe.generators import adversarial, families
from augpipe.generators import fit as training
from augpipe.generators.models import cgan
from augpipe.generators.protocol import Problem
from augpipe.generators.ticks import Hooks


@pytest.mark.parametrize("head", ["softmax", "projection"])
def test_the_heads(head: str) -> None:
    critic = cgan.CriticNet(tiny("cgan", head=head), Problem(ImageSpec(16, 1), tuple("abc")))
    x, labels = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    out = critic(x, labels)
    if head == "softmax":
        assert out.classes.shape == (4, 4)  # three classes and FAKE
        by_hand = out.classes[torch.arange(4), labels] - out.classes[:, 3]
        assert torch.allclose(out.score, by_hand)
        return
    assert out.classes.shape == (4, 3)
    # Miyato & Koyama 2018, eq. 5: psi(phi(x)) + <embedding(y), phi(x)>
    assert critic.embedding is not None and critic.real is not None
    phi = critic.features(x)
    by_hand = critic.real(phi).squeeze(1) + (critic.embedding.weight[labels] * phi).sum(1)
    assert torch.allclose(out.score, by_hand, atol=1e-5)


def test_r1_is_lazy_and_weighs_as_much_on_average(here, make_shapes, monkeypatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(adversarial, "r1", lambda critic, x: seen.append(len(x)) or torch.tensor(1.0))
    train = make_shapes((9, 9))
    losses = []
    for gamma in (0.0, 2.0):
        config = tiny("cgan", r1=gamma, r1_every=4)
        generator = families.build(config, Problem(train.spec, train.classes), here, 0)
        generator.prepare(train)
        losses.append(steps(generator, train, 1)[0]["loss_d"])
        steps(generator, train, 7)
    assert len(seen) == 2  # steps 0 and 4 of eight
    assert losses[1] - losses[0] == pytest.approx(2.0 * 4, rel=1e-4)


def centred(n: int = 200, size: int = 16) -> ImageSet:
    """Bright squares of 6 pixels, always in the middle, of two shades."""
    images = torch.zeros(n, 1, size, size, dtype=torch.uint8)
    labels = torch.arange(n) % 2
    at = (size - 6) // 2
    shade = torch.where(labels == 0, 255, 160).to(torch.uint8)
    images[:, :, at : at + 6, at : at + 6] = shade[:, None, None, None]
    table = provenance([str(i) for i in range(n)])
    return ImageSet(images.numpy(), labels.numpy(), ("bright", "grey"), table)


@pytest.mark.parametrize(
    "options",
    [
        {"augment": ["translation", "cutout"]},
        {"ada": {"kimg": 20.0, "target": 0.2}, "augment": ["rotation", "translation", "brightness"]},
    ],
    ids=["DiffAugment", "ADA"],
)
def test_samples_do_not_show_the_augmentation(here, options) -> None:
    """Reals are shifted, cut or turned before the critic; what is drawn stands still, as the reals do."""
    train = centred()
    config = cgan.Config(kind="cgan", width=8, latent=16, batch=32, kimg=10, ticks=1, ema_half_kimg=0.5, **options)
    generator = families.build(config, Problem(train.spec, train.classes), here, 0)
    training.fit(generator, train, config, here, seed=0, hooks=Hooks(lambda g: 0.0))
    assert generator.adaptive is None or generator.adaptive.p > 0.1  # it was at work
    labels = torch.arange(100) % 2
    drawn = generator.sample(labels, torch.Generator().manual_seed(0)).float()[:, 0]
    places = torch.arange(16.0) - 7.5
    mass = drawn.sum((1, 2))
    down = (drawn * places[None, :, None]).sum((1, 2)) / mass
    across = (drawn * places[None, None, :]).sum((1, 2)) / mass
    # The augmentation alone moves the centre by 2 pixels either way, 1.4 on average.
    assert (torch.hypot(down, across) < 0.7).float().mean() >= 0.95
    shade = drawn[:, 6:10, 6:10].mean((1, 2))
    assert shade[labels == 0].mean() > 225 and shade[labels == 1].mean() == pytest.approx(160, abs=25)
