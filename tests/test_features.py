from __future__ import annotations

import numpy as np

from augpipe import features
from augpipe.classifiers import ClassifierOptions
from augpipe.images import Splits


def test_domain_features_tell_the_classes_apart(here, make_shapes) -> None:
    splits = Splits(
        make_shapes((40, 20, 6)), make_shapes((15, 15, 15), seed=1), make_shapes((5, 5, 5), seed=2)
    )
    options = ClassifierOptions(width=0.25, steps=60, batch=32, evaluations=2)
    domain = features.train_domain(splits, options, here, seed=0)
    found = features.embed_set(domain, splits.val, here)
    assert found.vectors.shape == (45, domain.net.head.in_features)
    assert (found.predicted == found.labels).mean() > 0.9
    one = found.of(1)
    assert len(one.labels) == 15 and set(one.labels) == {1}
    assert np.array_equal(one.vectors, found.vectors[15:30])


def test_test_images_do_not_change_the_features(here, make_shapes) -> None:
    options = ClassifierOptions(width=0.25, steps=10, batch=8, evaluations=1)
    train, val = make_shapes((10, 6)), make_shapes((5, 5), seed=1)
    found = []
    for seed in (2, 3):
        splits = Splits(train, val, make_shapes((5, 5), seed=seed))
        found.append(
            features.embed_set(features.train_domain(splits, options, here, seed=0), val, here)
        )
    assert np.array_equal(found[0].vectors, found[1].vectors)
