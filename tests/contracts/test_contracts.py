from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from contracts import VARIANTS, draw, few_images_for_statistics, fresh, steps, tiny

from augpipe.core import device as runtime
from augpipe.core.errors import UserError
from augpipe.core.seeds import torch_stream
from augpipe.core.store import Store
from augpipe.generators import families
from augpipe.generators.protocol import Deriving, Finite, Problem


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with few_images_for_statistics():
        yield


# Families that draw images of up to 64 pixels.
SMALL = ("pixelcnn",)

every_family = pytest.mark.parametrize("family", [*families.names(), *VARIANTS])


@every_family
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (28, 3)])
def test_samples_are_images_of_the_asked_shape(family, channels, size, here, make_shapes) -> None:
    train = make_shapes((8, 6, 5), size=size, channels=channels)
    generator = fresh(family, train, here)
    told = steps(generator, train, 2)
    assert all(math.isfinite(value) for losses in told for value in losses.values())
    images = draw(generator, [2, 0, 1, 1, 2])
    assert images.shape == (5, channels, size, size) and images.dtype == torch.uint8
    assert images.device.type == "cpu"
    assert draw(generator, []).shape == (0, channels, size, size)


@pytest.mark.parametrize("family", families.names())
def test_the_largest_images_are_256_pixels(family, here, make_shapes) -> None:
    """One step of training and two samples, with the smallest nets; what larger ones cost is in a benchmark."""
    train = make_shapes((2, 2), size=256, channels=3)
    if family in SMALL:
        with pytest.raises(UserError, match=f"{family} .* images of up to 64 pixels; image.size is 256"):
            families.check(tiny(family), Problem(train.spec, train.classes))
        return
    generator = fresh(family, train, here)
    assert all(math.isfinite(value) for losses in steps(generator, train, 1, batch=2) for value in losses.values())
    assert draw(generator, [1, 0]).shape == (2, 3, 256, 256)


@every_family
def test_samples_follow_from_labels_and_seed(family, here, make_shapes) -> None:
    train = make_shapes((8, 6))
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    asked = [0, 1] * 6
    assert torch.equal(draw(generator, asked, 1), draw(generator, asked, 1))
    assert not torch.equal(draw(generator, asked, 1), draw(generator, asked, 2))


@every_family
def test_two_of_one_seed_are_equal_whatever_the_global_generators_say(family, here, make_shapes) -> None:
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
def test_state_goes_through_a_file_and_training_goes_on_as_if_unbroken(family, here, make_shapes) -> None:
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
    packed = families.pack(tiny(family), Problem(train.spec, train.classes), 0, ref, generator.state_dict())
    torch.save(packed, tmp_path / "g.pt")
    assert str(tmp_path).encode() not in (tmp_path / "g.pt").read_bytes()
    # A state that was read from a file shares other objects; what is stored of it must be the same to the byte.
    again = {**packed, "state": torch.load(tmp_path / "g.pt", weights_only=True)["state"]}
    assert store.put_state("g", again).sha256 == store.put_state("g", packed).sha256
    back, problem = families.unpack(torch.load(tmp_path / "g.pt", weights_only=True), here, store.images)
    assert problem == Problem(train.spec, train.classes)
    assert torch.equal(draw(back, [1, 0, 1]), draw(generator, [1, 0, 1]))
    empty = Store(tmp_path / "empty").images
    assert tiny(family).derives == isinstance(generator, Deriving)
    if tiny(family).draws_from_images:
        with pytest.raises(ValueError, match=f"not available.*{ref.sha256}"):
            families.unpack(packed, here, empty)
        # Checkpoints of earlier versions hold the set's path.
        old = {**packed, "train": {"path": str(ref.path), "sha256": ref.sha256}}
        back, _ = families.unpack(old, here, empty)
        assert torch.equal(draw(back, [1, 0, 1]), draw(generator, [1, 0, 1]))
    else:
        families.unpack(packed, here, empty)


@every_family
def test_a_class_with_five_images(family, here, make_shapes) -> None:
    train = make_shapes((30, 5))
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    if isinstance(generator, Finite):
        assert generator.available == {0: 30, 1: 5}
        with pytest.raises(UserError, match="class 'c1' has 5 images, each of which is drawn once; 20 were requested"):
            draw(generator, [1] * 20)
        return
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
    if config.kimg:
        with pytest.raises(ValueError, match="kimg: 0 would draw from an untrained"):
            tiny(family, kimg=0)
    with pytest.raises(ValueError, match="unknown key 'nope'"):
        type(config)(kind=config.kind, nope=1)


@every_family
def test_labels_that_train_lacks_change_nothing_for_the_others(family, here, make_shapes) -> None:
    full = make_shapes((8, 6, 7))
    train = full.take(np.flatnonzero(full.labels != 1))
    generator = fresh(family, train, here)
    told = steps(generator, train, 3)
    assert all(math.isfinite(value) for losses in told for value in losses.values())
    assert draw(generator, [0, 2, 2, 0]).shape == (4, 1, 16, 16)


@every_family
def test_a_lower_learning_rate_is_kept_in_the_state(family, here, make_shapes) -> None:
    train = make_shapes((8, 6))
    generator = fresh(family, train, here)
    steps(generator, train, 1)
    rates = list(_rates(generator.state_dict()))
    generator.lower_learning_rate(0.5)
    assert list(_rates(generator.state_dict())) == [r / 2 for r in rates]


def _rates(state: Any) -> Iterator[float]:
    """Every `lr` in a nested state."""
    if isinstance(state, dict):
        for key, value in state.items():
            if key == "lr":
                yield value
            else:
                yield from _rates(value)
    elif isinstance(state, list):
        for value in state:
            yield from _rates(value)


@every_family
def test_half_precision_where_the_device_has_it(family, here, make_shapes) -> None:
    """bf16 is what `auto` picks where the hardware multiplies it; here it is emulated if need be."""
    half = runtime.start(here.device.type, "bf16-mixed", threads=1)
    train = make_shapes((8, 6))
    generator = fresh(family, train, half)
    told = steps(generator, train, 6)
    assert all(math.isfinite(value) for losses in told for value in losses.values())
    assert draw(generator, [0, 1, 1]).dtype == torch.uint8


@pytest.mark.parametrize(("family", "options"), [("progan", {}), ("dagan", {}), ("bagan", {"gradient_penalty": True})])
def test_ada_has_nothing_to_follow_in_a_wasserstein_critic(family, options) -> None:
    with pytest.raises(ValueError, match="set ada: null"):
        tiny(family, ada={}, **options)


@pytest.mark.parametrize("size", [32, 128])  # 16 in all others, 256 above
@pytest.mark.parametrize("family", families.names())
def test_32_and_128_pixels(family, size, here, make_shapes) -> None:
    if family in SMALL and size > 64:
        pytest.skip(f"{family} draws images of up to 64 pixels")
    train = make_shapes((4, 4), size=size, channels=3)
    generator = fresh(family, train, here)
    images, labels = train.tensors()
    generator.step(images, labels)
    assert draw(generator, [1, 0]).shape == (2, 3, size, size)


@pytest.mark.parametrize("family", families.names())
def test_a_hundred_classes(family, here, make_shapes) -> None:
    train = make_shapes((2,) * 100)
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    assert draw(generator, list(range(100))).shape == (100, 1, 16, 16)


@pytest.mark.parametrize("family", [f for f in families.names() if tiny(f).is_trained()])
def test_per_class_and_pretrain_of_any_trained_family(family, here, make_shapes) -> None:
    train = make_shapes((8, 6))
    config = tiny(family, per_class=True)
    problem = Problem(train.spec, train.classes)
    joined = families.build(config, problem, here, 0)
    joined.prepare(train)
    steps(joined, train, 2)
    first, second = joined.models[0].state_dict(), joined.models[1].state_dict()
    # Models of one shape and of different seeds, each of which saw its own class.
    assert not torch.equal(*(next(iter(s["nets"]["generator"].values())) for s in (first, second)))
    joined.models[0].warm_start(second)
    for name, net in second["nets"].items():
        for key, value in joined.models[0].state_dict()["nets"][name].items():
            assert torch.equal(value, net[key]), (name, key)
    steps(joined, train, 2)
    with pytest.raises(ValueError, match="per_class: true"):
        tiny(family, pretrain=1.0)


@every_family
def test_an_old_state_draws_its_own_images(family, here, make_shapes) -> None:
    """The loop looks at the last state, then loads the best one: nothing kept from the former may be drawn with."""
    train = make_shapes((8, 6))
    generator = fresh(family, train, here)
    steps(generator, train, 2)
    kept, before = copy.deepcopy(generator.state_dict()), draw(generator, [0, 1, 1, 0])
    steps(generator, train, 8, seed=3)
    draw(generator, [0, 1])
    generator.load_state_dict(kept)
    assert torch.equal(draw(generator, [0, 1, 1, 0]), before)
