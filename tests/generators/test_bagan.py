from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts import fresh, steps
from sklearn.covariance import ledoit_wolf

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.generators.models.bagan import BAGAN


def made(train: ImageSet, here: Runtime, **options) -> BAGAN:
    found = fresh("bagan", train, here, **options)
    assert isinstance(found, BAGAN)
    return found


@pytest.mark.parametrize("options", [{}, {"gradient_penalty": True}])
def test_both_nets_start_as_the_autoencoder(here, make_shapes, options) -> None:
    train = make_shapes((20, 9))
    generator = made(train, here, kimg=1.0, **options)
    steps(generator, train, 4)  # of the autoencoder
    decoder = {k: v.clone() for k, v in generator.g.state_dict().items()}
    trunk = generator.encoder.trunk.state_dict()
    assert not generator.ready
    assert not all(torch.equal(generator.d.trunk.state_dict()[k], v) for k, v in trunk.items())
    generator.initialise()
    for key, value in trunk.items():
        assert torch.equal(generator.d.trunk.state_dict()[key], value), key
    for key, value in decoder.items():
        assert torch.equal(generator.g.state_dict()[key], value), key
    assert not generator.optimisers["g"].state  # its moments were the autoencoder's
    # The discriminator's are its own from here on.
    steps(generator, train, 2)
    assert not all(torch.equal(generator.d.trunk.state_dict()[k], v) for k, v in trunk.items())


def test_the_autoencoder_takes_its_share_of_the_budget(here, make_shapes) -> None:
    train = make_shapes((20, 9))
    generator = made(train, here, kimg=0.16, autoencoder=0.25)  # 0.25 * 160 images, 8 a step
    told = steps(generator, train, 8)
    assert ["loss_autoencoder" in losses for losses in told] == [True] * 5 + [False] * 3


def test_latents_match_the_mean_and_the_shrunk_covariance_of_each_class(here, make_shapes) -> None:
    train = make_shapes((40, 12))
    generator = made(train, here, kimg=1.0)
    steps(generator, train, 5)
    generator.initialise()
    images, labels = train.tensors()
    rng = torch.Generator().manual_seed(0)
    generator.encoder.eval()
    for label in (0, 1):
        own = images[labels == label].float() / 127.5 - 1
        encodings = generator.encoder(own).detach().double().numpy()
        drawn = generator.latents(torch.full((60_000,), label), rng).double().numpy()
        scale = encodings.std(0)
        assert np.abs(drawn.mean(0) - encodings.mean(0)).max() < 0.03 * scale.max()
        expected, shrinkage = ledoit_wolf(encodings)
        assert 0 < shrinkage <= 1
        assert np.abs(np.cov(drawn, rowvar=False) - expected).max() < 0.05 * expected.max()


def test_label_modes(here, make_shapes) -> None:
    train = make_shapes((70, 20, 10, 0))
    rng = torch.Generator().manual_seed(0)
    uniform = made(train, here).draw_labels(30_000, rng).bincount(minlength=4) / 30_000
    assert torch.allclose(uniform, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0]), atol=0.02)
    # 2/K minus the class's share, nothing below 0: (2/3 - .7, 2/3 - .2, 2/3 - .1) over its sum.
    shares = torch.tensor([0.0, 2 / 3 - 0.2, 2 / 3 - 0.1, 0.0])
    found = made(train, here, labels="rebalance").draw_labels(30_000, rng).bincount(minlength=4) / 30_000
    assert torch.allclose(found, shares / shares.sum(), atol=0.02)


def test_fakes_of_the_critics_batch(here, make_shapes) -> None:
    train = make_shapes((9, 9, 9))
    assert made(train, here, fakes=None).fakes(64) == 22  # ceil(64 / 3), the paper's
    assert made(train, here, fakes=1.0).fakes(64) == 64


def test_a_wrong_label_is_never_the_right_one_nor_one_that_train_lacks(here, make_shapes) -> None:
    full = make_shapes((9, 9, 9, 9))
    train = full.take(np.flatnonzero(full.labels != 2))
    generator = made(train, here, gradient_penalty=True)
    labels = torch.tensor([0, 1, 3]).repeat(500)
    wrong = generator.wrong(labels)
    assert (wrong != labels).all() and set(wrong.tolist()) == {0, 1, 3}
    for label in (0, 1, 3):
        others = wrong[labels == label].bincount(minlength=4)
        assert others[others > 0].tolist() == pytest.approx([250, 250], rel=0.2)


def test_the_decoder_sees_the_class_if_set(here, make_shapes) -> None:
    train = make_shapes((2, 2, 2))
    z = torch.randn(1, 8).expand(3, -1)
    for options, by_class in (
        ({}, False),
        ({"label_embedding": True}, True),
        ({"gradient_penalty": True}, True),
        ({"gradient_penalty": True, "label_embedding": False}, False),
    ):
        out = made(train, here, dropout=0.0, **options).g(z, torch.tensor([0, 1, 2]))
        assert torch.equal(out[0], out[1]) is not by_class


def test_an_autoencoder_that_diverged_is_set_back(here, make_shapes) -> None:
    train = make_shapes((20, 9))
    generator = made(train, here, kimg=1.0)
    with torch.no_grad():
        for p in generator.encoder.parameters():
            p.fill_(float("nan"))
    generator.seen = 900
    told = steps(generator, train, 1)
    assert np.isnan(told[0]["loss_autoencoder"]) and not generator.ready


def test_a_warm_start_keeps_the_trained_discriminator(here, make_shapes) -> None:
    train = make_shapes((20, 9))
    old, early, new = (made(train, here, kimg=0.16, autoencoder=0.25) for _ in range(3))
    steps(old, train, 8)
    assert old.ready
    new.warm_start(old.state_dict())
    assert new.initialise()
    for key, value in old.d.state_dict().items():
        assert torch.equal(new.d.state_dict()[key], value), key
    steps(early, train, 2)  # still an autoencoder: there is no discriminator to keep
    new = made(train, here, kimg=0.16, autoencoder=0.25)
    new.warm_start(early.state_dict())
    assert "loss_autoencoder" in steps(new, train, 1)[0]


def test_class_weight_adds_so_much_of_the_papers_loss(here, make_shapes) -> None:
    """At one state, and over one draw: realness + w · cross-entropy to the class (Mariani et al. 2018, 3.2)."""
    train = make_shapes((20, 9))
    told = {}
    for loss, weight in (("realness", 0.0), ("realness", 0.1), ("realness", 1.0), ("class", 0.0)):
        generator = made(train, here, kimg=0.1, generator_loss=loss, class_weight=weight)
        told[loss, weight] = steps(generator, train, 2)[-1]["loss_g"]
    plain, whole = told["realness", 0.0], told["class", 0.0]
    assert told["realness", 0.1] == pytest.approx(plain + 0.1 * whole, rel=1e-4)
    assert told["realness", 1.0] == pytest.approx(plain + whole, rel=1e-4)
    assert told["class", 0.0] != pytest.approx(plain)
