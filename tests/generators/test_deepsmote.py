"""DeepSMOTE: what it makes small, and what its images lie between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts import fresh, steps, tiny
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, provenance, to_float
from augpipe.generators.models.deepsmote import DeepSMOTE


def made(train: ImageSet, here: Runtime, **options) -> DeepSMOTE:
    found = fresh("deepsmote", train, here, **options)
    assert isinstance(found, DeepSMOTE)
    return found


def drawn(generator: DeepSMOTE, before: torch.Tensor) -> torch.Tensor:
    """The 64 images of one class that the penalty draws where its stream stands at `before`; moves the stream on."""
    rng = generator.rngs["noise"]
    rng.set_state(before)
    pool, rows = generator.train_images()
    label = generator.present[torch.randint(0, 2, (1,), generator=rng)].expand(64)
    u = torch.rand(64, generator=rng, dtype=torch.float64)
    return to_float(pool.gather(rows.pick(label, u)))


def test_as_in_the_authors_code_the_decoder_alone_learns_its_own_images_again(here, make_shapes) -> None:
    """Images that are handed round with their codes: a reconstruction, of one class."""
    train = make_shapes((6, 5))
    generator = made(train, here)
    generator.net.eval()  # the same statistics for the penalty and for the check
    before = generator.rngs["noise"].get_state()
    penalty = generator._penalty(64)
    penalty.backward()
    assert all(p.grad is None for p in generator.net.encoder.parameters())
    assert all(p.grad is not None for p in generator.net.decoder.parameters())
    own = drawn(generator, before)
    with torch.no_grad():
        rebuilt = generator.net(own)
    assert float(penalty.detach()) == pytest.approx(float(((rebuilt - own) ** 2).mean()), rel=1e-4)


def test_as_in_the_paper_it_is_the_distance_from_another_image_of_the_class(here, make_shapes) -> None:
    """Where the nets hand through what they are given it is that between images of the class (algorithm 1)."""
    train = make_shapes((6, 5))
    generator = made(train, here, permuted="codes")
    generator.net.encode = lambda x: x.flatten(1)
    generator.net.decode = lambda z: z.view(-1, 1, 16, 16)
    before = generator.rngs["noise"].get_state()
    found = float(generator._penalty(64))
    own = drawn(generator, before)
    order = torch.randperm(64, generator=generator.rngs["noise"])
    assert found == pytest.approx(float(F.mse_loss(own[order], own)), rel=1e-5)
    # Independent of which was drawn: twice the variance within one class, about.
    spreads = [
        2 * float(to_float(torch.from_numpy(train.images[train.labels == c])).var(0, correction=0).mean())
        for c in (0, 1)
    ]
    assert 0.5 * min(spreads) < found < 1.5 * max(spreads)


def test_it_learns_to_reconstruct(here, make_shapes) -> None:
    train = make_shapes((30, 30))
    generator = made(train, here, width=8, latent=16, learning_rate=2e-3)
    told = steps(generator, train, 150)
    first, last = (np.mean([t["loss_reconstruction"] for t in part]) for part in (told[:5], told[-10:]))
    assert last < 0.3 * first


@pytest.mark.parametrize(("permuted", "expected"), [("codes", 0.5), ("both", 0.0)])
def test_handed_codes_ask_for_half_the_way_to_the_class_mean(here, permuted, expected) -> None:
    """The least of |d - x|² + E|d - y|², y any image of the class, lies at (x + mean) / 2;
    of images with theirs, at x.
    """
    pictures = np.zeros((4, 1, 16, 16), np.uint8)
    pictures[0, :, 2:5], pictures[1, :, 10:13] = 220, 220
    pictures[2, :, :, 2:5], pictures[3, :, :, 10:13] = 220, 220
    labels = np.repeat([0, 1], 16).astype(np.int64)
    rows = [int(c) * 2 + k % 2 for k, c in enumerate(labels)]
    train = ImageSet(pictures[rows], labels, ("a", "b"), provenance([f"i{k}" for k in range(32)]))
    generator = made(train, here, width=8, latent=16, learning_rate=2e-3, permuted=permuted)
    # By a batch's own statistics the nets would tell one class alone from both, and have an answer for each.
    generator.net.eval()
    steps(generator, train, 400)
    x = to_float(torch.from_numpy(train.images))
    with torch.no_grad():
        rebuilt = generator.net(x)
    means = torch.stack([x[labels == c].mean(0) for c in (0, 1)])[torch.from_numpy(labels)]
    way = means - x
    assert float(((rebuilt - x) * way).sum() / (way * way).sum()) == pytest.approx(expected, abs=0.15)


def test_an_image_lies_between_its_parents_code_and_a_neighbours(here, make_shapes) -> None:
    train = make_shapes((9, 12))
    generator = made(train, here, neighbours=3)
    steps(generator, train, 3)
    generator._recalibrate()
    rng = torch.Generator().manual_seed(1)
    codes, parents = generator.interpolation().draw(1, 50, rng)
    rows, known, _ = generator.interpolation().of(1)
    assert np.array_equal(train.labels[rows], np.ones(12))
    near = NearestNeighbors(n_neighbors=4).fit(known).kneighbors(known)[1][:, 1:]
    for code, parent in zip(codes, parents, strict=True):
        at = int(np.flatnonzero(rows == int(parent))[0])
        fits = []
        for other in range(12):
            way = known[other] - known[at]
            if other == at:
                continue
            u = float((code - known[at]) @ way / (way @ way))
            off = float((known[at] + u * way - code).norm())
            if off < 1e-4 and -1e-4 <= u <= 0.5 + 1e-4:
                fits.append(other in near[at] or at in near[other])
        assert any(fits)


def test_the_only_image_of_a_class_is_rebuilt(here, make_shapes) -> None:
    train = make_shapes((8, 1))
    generator = made(train, here)
    steps(generator, train, 2)
    found = generator.derive(torch.tensor([1, 1, 1]), torch.Generator().manual_seed(0))
    assert found.parents.tolist() == [8, 8, 8]
    assert torch.equal(found.images[0], found.images[1])


def test_new_weights_give_new_codes(here, make_shapes) -> None:
    train = make_shapes((8, 6))
    generator = made(train, here)
    steps(generator, train, 1)
    asked = torch.tensor([0] * 8)
    before = generator.sample(asked, torch.Generator().manual_seed(0))
    steps(generator, train, 20)
    assert not torch.equal(before, generator.sample(asked, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("wrong", [{"augment": ["translation"]}, {"ada": {}}])
def test_there_is_no_discriminator_to_augment_for(wrong) -> None:
    with pytest.raises(ValueError, match="deepsmote has no discriminator"):
        tiny("deepsmote", **wrong)
