"""What the adversarial families share, shown on one of them."""

from __future__ import annotations

import io

import numpy as np
import torch
from contracts import draw, fresh, steps

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet
from augpipe.generators.adversarial import Adversarial


def made(train: ImageSet, here: Runtime, name: str = "cgan", seed: int = 0) -> Adversarial:
    found = fresh(name, train, here, seed)
    assert isinstance(found, Adversarial)
    return found


def test_labels_of_fakes_are_uniform_over_the_classes_that_train_has(here, make_shapes) -> None:
    full = make_shapes((40, 3, 9, 9))
    generator = made(full.take(np.flatnonzero(full.labels != 2)), here)
    found = generator.draw_labels(30_000).bincount(minlength=4) / 30_000
    assert torch.allclose(found, torch.tensor([1 / 3, 1 / 3, 0, 1 / 3]), atol=0.02)


def test_batches_come_sorted_by_class_with_their_images(here, make_shapes) -> None:
    train = make_shapes((9, 9, 9))
    images, labels = train.tensors()
    mixed = torch.randperm(27, generator=torch.Generator().manual_seed(0))
    real, sorted_ = made(train, here).in_class_order(images[mixed], labels[mixed])
    assert sorted_.tolist() == sorted(labels.tolist())
    assert real.min() >= -1 and real.max() <= 1
    back = ((real + 1) * 127.5).round().to(torch.uint8)
    own = {bytes(image.numpy().tobytes()): int(c) for image, c in zip(images, labels, strict=True)}
    assert [own[image.numpy().tobytes()] for image in back.contiguous()] == sorted_.tolist()


def test_a_discriminator_is_trainable_again_after_the_generators_step(here, make_shapes) -> None:
    train = make_shapes((9, 9))
    generator = made(train, here)
    steps(generator, train, 1)
    assert all(p.requires_grad for p in generator.nets["discriminator"].parameters())
    with generator.frozen("discriminator"):
        assert not any(p.requires_grad for p in generator.nets["discriminator"].parameters())


def test_a_warm_start_takes_nets_and_average_and_nothing_else(here, make_shapes) -> None:
    train = make_shapes((9, 9))
    old, new = made(train, here), made(train, here, seed=3)
    steps(old, train, 3)
    new.warm_start(old.state_dict())
    assert torch.equal(draw(new, [0, 1]), draw(old, [0, 1]))
    assert new.seen == 0 and not new.optimisers["g"].state


def test_samples_are_the_averages_and_not_the_last_nets(here, make_shapes) -> None:
    train = make_shapes((9, 9))
    generator = made(train, here)
    steps(generator, train, 3)
    before = draw(generator, [0, 1])
    with torch.no_grad():
        for p in generator.nets["generator"].parameters():
            p.add_(1.0)
    assert torch.equal(draw(generator, [0, 1]), before)


def test_ada_goes_through_the_state(here, make_shapes) -> None:
    train = make_shapes((9, 9))
    generator = made(train, here, "acgan, ADA")
    assert generator.adaptive is not None
    for _ in range(30):
        generator.adaptive.observe(torch.ones(8))
    buffer = io.BytesIO()
    torch.save(generator.state_dict(), buffer)
    buffer.seek(0)
    other = made(train, here, "acgan, ADA", seed=9)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert other.adaptive is not None and other.adaptive.p == generator.adaptive.p > 0
    assert other.adaptive.state_dict() == generator.adaptive.state_dict()
