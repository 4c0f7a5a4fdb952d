from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from contracts import draw, fresh, steps, tiny

from augpipe import generators
from augpipe.generators import Deriving, Problem, families
from augpipe.seeds import torch_stream
from augpipe.store import Store

every_family = pytest.mark.parametrize("family", families())


@every_family
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28])
def test_samples_are_images_of_the_asked_shape(family, channels, size, here, make_shapes) -> None:
    train = make_shapes((8, 6, 5), size=size, channels=channels)
    generator = fresh(family, train, here)
    told = steps(generator, train, 2)
    assert all(math.isfinite(value) for losses in told for value in losses.values())
    images = draw(generator, [2, 0, 1, 1, 2])
    assert images.shape == (5, channels, size, size) and images.dtype == torch.uint8
    assert images.device.type == "cpu"
    assert draw(generator, []).shape == (0, channels, size, size)


@every_family
def test_samples_follow_from_labels_and_seed(family, here, make_shapes) -> None:
    train = make_shapes((8, 6))
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    asked = [0, 1] * 6
    assert torch.equal(draw(generator, asked, 1), draw(generator, asked, 1))
    assert not torch.equal(draw(generator, asked, 1), draw(generator, asked, 2))


@every_family
def test_two_of_one_seed_are_equal_whatever_the_global_generators_say(
    family, here, make_shapes
) -> None:
    train = make_shapes((8, 6))
    found = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        generator = fresh(family, train, here)
        found.append((steps(generator, train, 3), draw(generator, [0, 1, 1])))
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])


@every_family
def test_looking_does_not_change_training(family, here, make_shapes) -> None:
    train = make_shapes((8, 6))
    plain, watched = fresh(family, train, here), fresh(family, train, here)
    for seed in range(3):
        steps(plain, train, 1, seed)
        steps(watched, train, 1, seed)
        draw(watched, [0, 1], seed)
    assert torch.equal(draw(plain, [0, 1, 0]), draw(watched, [0, 1, 0]))


@every_family
def test_state_goes_through_a_file_and_training_goes_on_as_if_unbroken(
    family, here, make_shapes
) -> None:
    train = make_shapes((8, 6))
    unbroken, broken = fresh(family, train, here), fresh(family, train, here)
    steps(unbroken, train, 3)
    steps(broken, train, 3)
    buffer = io.BytesIO()
    torch.save(broken.state_dict(), buffer)
    buffer.seek(0)
    resumed = fresh(family, train, here, seed=99)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert steps(unbroken, train, 3, seed=5) == steps(resumed, train, 3, seed=5)
    assert torch.equal(draw(unbroken, [0, 1, 1]), draw(resumed, [0, 1, 1]))


@every_family
def test_a_checkpoint_stands_alone(family, here, make_shapes, tmp_path) -> None:
    train, store = make_shapes((8, 6)), Store(tmp_path)
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    ref = store.put_images(train)
    packed = generators.pack(
        tiny(family), Problem(train.spec, train.classes), 0, ref, generator.state_dict()
    )
    torch.save(packed, tmp_path / "g.pt")
    back, problem = generators.unpack(torch.load(tmp_path / "g.pt", weights_only=True), here)
    assert problem == Problem(train.spec, train.classes)
    assert torch.equal(draw(back, [1, 0, 1]), draw(generator, [1, 0, 1]))
    gone = {**packed, "train": {"path": str(tmp_path / "gone"), "sha256": ""}}
    if isinstance(generator, Deriving):
        with pytest.raises(ValueError, match="training set, which is gone"):
            generators.unpack(gone, here)
    else:
        generators.unpack(gone, here)


@every_family
def test_a_class_with_five_images(family, here, make_shapes) -> None:
    train = make_shapes((30, 5))
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    assert draw(generator, [1] * 20).shape == (20, 1, 16, 16)


@every_family
def test_parents_are_of_the_asked_class(family, here, make_shapes) -> None:
    train = make_shapes((8, 6, 7))
    generator = fresh(family, train, here)
    if not isinstance(generator, Deriving):
        pytest.skip(f"{family} makes images from noise")
    labels = torch.tensor([2, 0, 1] * 5)
    made = generator.derive(labels, torch_stream(0, "x"))
    assert np.array_equal(train.labels[made.parents.numpy()], labels.numpy())


@every_family
def test_configs_are_strict_and_keep_what_only_the_family_knows(family) -> None:
    config = tiny(family)
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(ValueError, match="unknown key 'nope'"):
        type(config)(kind=family, nope=1)
