from __future__ import annotations

import numpy as np
import pytest
import torch
from imblearn import over_sampling
from sklearn.neighbors import NearestNeighbors

from augpipe.core.device import Runtime
from augpipe.core.images import ImageSet, provenance
from augpipe.generators.models import smote
from augpipe.generators.protocol import Problem


def fitted(train, here: Runtime, **options) -> smote.SMOTE:
    config = smote.Config(kind="smote", **options)
    generator = smote.build(config, Problem(train.spec, train.classes), here, 0)
    generator.prepare(train)
    return generator


def test_each_image_lies_between_its_parent_and_one_of_the_parents_neighbours(here, make_shapes) -> None:
    train = make_shapes((20, 12), channels=3)
    generator = fitted(train, here, neighbours=3)
    labels = torch.tensor([1] * 40 + [0] * 10)
    made = generator.derive(labels, torch.Generator().manual_seed(0))
    for image, parent, label in zip(made.images, made.parents, labels, strict=True):
        own = train.images[train.labels == int(label)].reshape(-1, 3 * 256).astype(float)
        rows = np.flatnonzero(train.labels == int(label))
        near = NearestNeighbors(n_neighbors=4).fit(own)
        x, base = image.numpy().ravel().astype(float), own[list(rows).index(int(parent))]
        # The parent is the nearer end; the other end has it, or it has the other, among its neighbours.
        found = []
        for other, end in enumerate(own):
            way = end - base
            if not way.any():
                continue
            u = float((x - base) @ way / (way @ way))
            gap = np.abs(base + u * way - x).max()
            # Pixels are rounded, by up to 0.5, and u is found from the rounded ones; any other line
            # between two images lies 15 and more away.
            if gap <= 1 and -0.01 <= u <= 0.51:
                ends = near.kneighbors([base, end])[1]
                found.append(other in ends[0][1:] or list(rows).index(int(parent)) in ends[1][1:])
        assert any(found)


@pytest.mark.parametrize("method", ["plain", "borderline", "adasyn"])
def test_images_are_those_of_imbalanced_learn(here, method: str, monkeypatch) -> None:
    """Its own search for neighbours, on pixels alone; no two pairs of images are equally far.
    Found once for all draws.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 1, 6, 6)).astype(np.uint8)
    labels = np.repeat([0, 1], [40, 20]).astype(np.int64)
    train = ImageSet(images, labels, ("a", "b"), provenance([str(i) for i in range(60)]))
    searches = []

    def search(*args, **options) -> NearestNeighbors:
        searches.append(1)
        return NearestNeighbors(*args, **options)

    monkeypatch.setattr("sklearn.neighbors.NearestNeighbors", search)
    generator = fitted(train, here, method=method)
    for seed in range(3):
        asked = torch.Generator().manual_seed(seed)
        made = generator.derive(torch.ones(12, dtype=torch.int64), asked).images.flatten(1)
        state = int(torch.randint(0, 2**31 - 1, (1,), generator=asked.manual_seed(seed)))
        own, other = images[40:].reshape(20, -1), images[:40].reshape(40, -1)
        if method == "plain":
            other = np.zeros((1, 36))
        x, y = np.concatenate([own, other]).astype(float), np.repeat([0, 1], [20, len(other)])
        samplers = {
            "plain": over_sampling.SMOTE(sampling_strategy={0: 32}, random_state=state),
            "borderline": over_sampling.BorderlineSMOTE(sampling_strategy={0: 32}, random_state=state),
            "adasyn": over_sampling.ADASYN(sampling_strategy={0: 32}, random_state=state),
        }
        reference = samplers[method].fit_resample(x, y)[0][len(y) :]
        rows = {tuple(row) for row in reference.round().astype(np.uint8).tolist()}
        assert {tuple(row) for row in made.tolist()} <= rows
    assert len(searches) <= 2  # among all images, and within the class


def test_one_image_can_only_be_repeated(here, make_shapes) -> None:
    train = make_shapes((5, 1))
    made = fitted(train, here).derive(torch.tensor([1, 1]), torch.Generator())
    assert np.array_equal(made.images.numpy(), train.images[[5, 5]]) and made.parents.tolist() == [5, 5]


def test_two_images_are(here, make_shapes) -> None:
    train = make_shapes((5, 2))
    images = fitted(train, here).sample(torch.tensor([1] * 9), torch.Generator().manual_seed(0))
    low, high = train.images[5:].min(0), train.images[5:].max(0)
    assert (images.numpy() >= low).all() and (images.numpy() <= high).all()


def overlapping(make: int = 40) -> ImageSet:
    """Two classes of 8x8 images along one axis, grey 60 to 140 and 100 to 180, with a little noise."""
    rng = np.random.default_rng(0)
    greys = np.concatenate([np.linspace(60, 140, make), np.linspace(100, 180, make)])
    images = greys[:, None, None, None] + rng.normal(0, 2, (2 * make, 1, 8, 8))
    labels = np.repeat([0, 1], make).astype(np.int64)
    names = [str(i) for i in range(2 * make)]
    return ImageSet(images.round().astype(np.uint8), labels, ("a", "b"), provenance(names))


def lines(image: np.ndarray, own: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of images between which one lies, to a rounding."""
    found = set()
    for i in range(len(own)):
        way = own - own[i]
        length = (way**2).sum(1)
        u = np.divide(way @ (image - own[i]), length, out=np.zeros(len(own)), where=length > 0)
        apart = np.abs(own[i] + u[:, None] * way - image).max(1)
        found |= {(i, int(j)) for j in np.flatnonzero((apart <= 1) & (u > -0.01) & (u < 1.01) & (length > 0))}
    return found


def test_borderline_starts_from_images_in_danger(here) -> None:
    train = overlapping()
    flat = train.images.reshape(80, -1).astype(float)
    near = NearestNeighbors(n_neighbors=11).fit(flat).kneighbors(flat[:40])[1][:, 1:]
    others = (train.labels[near] == 1).sum(1)
    danger = set(np.flatnonzero((others >= 5) & (others < 10)))
    assert 3 < len(danger) < 30
    generator = fitted(train, here, method="borderline")
    made = generator.derive(torch.zeros(60, dtype=torch.int64), torch.Generator().manual_seed(0))
    for image in made.images.numpy().reshape(60, -1).astype(float):
        ends = {end for pair in lines(image, flat[:40]) for end in pair}
        assert ends & danger
    assert (made.parents < 40).all()


def test_adasyn_makes_most_where_the_others_are(here) -> None:
    train = overlapping()
    adasyn, plain = (
        fitted(train, here, method=method).sample(torch.zeros(200, dtype=torch.int64), torch.Generator().manual_seed(0))
        for method in ("adasyn", "plain")
    )
    # Class a reaches from 60 to 140, and its neighbours of class b begin at 100.
    assert float((adasyn.float().mean((1, 2, 3)) > 95).float().mean()) > 0.95
    assert float((plain.float().mean((1, 2, 3)) > 95).float().mean()) < 0.75


def test_classes_far_apart_leave_borderline_and_adasyn_nothing_to_go_by(here, make_shapes) -> None:
    train = make_shapes((8, 6))
    train.images[train.labels == 1] = 255 - train.images[train.labels == 1] // 8
    asked = torch.tensor([1] * 7 + [0] * 3)
    for method in ("borderline", "adasyn"):
        made = fitted(train, here, method=method).derive(asked, torch.Generator().manual_seed(0))
        assert np.array_equal(train.labels[made.parents.numpy()], asked.numpy())


def test_few_are_made_of_many_by_adasyn(here) -> None:
    generator = fitted(overlapping(300), here, method="adasyn")
    assert generator.sample(torch.zeros(1, dtype=torch.int64), torch.Generator()).shape == (1, 1, 8, 8)
