from __future__ import annotations

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from augpipe.generators import Problem, smote
from augpipe.runtime import Runtime


def fitted(train, here: Runtime, **options) -> smote.SMOTE:
    config = smote.Config(kind="smote", **options)
    generator = smote.build(config, Problem(train.spec, train.classes), here, 0)
    generator.prepare(train)
    return generator


def test_each_image_lies_between_its_parent_and_one_of_the_parents_neighbours(
    here, make_shapes
) -> None:
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


def test_one_image_can_only_be_repeated(here, make_shapes) -> None:
    train = make_shapes((5, 1))
    made = fitted(train, here).derive(torch.tensor([1, 1]), torch.Generator())
    assert np.array_equal(made.images.numpy(), train.images[[5, 5]]) and made.parents.tolist() == [
        5,
        5,
    ]


def test_two_images_are(here, make_shapes) -> None:
    train = make_shapes((5, 2))
    images = fitted(train, here).sample(torch.tensor([1] * 9), torch.Generator().manual_seed(0))
    low, high = train.images[5:].min(0), train.images[5:].max(0)
    assert (images.numpy() >= low).all() and (images.numpy() <= high).all()
