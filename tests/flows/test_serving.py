from __future__ import annotations

import numpy as np
import torch
from contracts import draw, fresh, steps, tiny

from augpipe.classifiers import train as classification
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.core.store import Store
from augpipe.generators import families
from augpipe.generators.protocol import Problem
from flows import serving


def test_a_served_classifier_is_the_trained_one(here, make_shapes, tmp_path) -> None:
    images, store = make_shapes((8, 8, 8)), Store(tmp_path)
    options = ClassifierOptions(width=0.25, steps=4, batch=8, evaluations=1)
    trained = classification.train(
        Mixture(images, None, Mix(origin_flag=True), here, seed=0), images, options, here, seed=0
    )
    ref = store.put_state("c", classification.state_of(trained, options))
    served = serving._load_pyfunc(str(ref.path))
    expected = classification.predict(trained, images, here)
    # Served at this machine's own precision.
    assert np.allclose(served.predict(images.images), expected, atol=0.02)


def test_a_served_generator_draws_by_class_and_seed(here, make_shapes, tmp_path) -> None:
    train, store = make_shapes((8, 6)), Store(tmp_path)
    generator = fresh("smote", train, here)
    steps(generator, train, 1)
    problem = Problem(train.spec, train.classes)
    packed = families.pack(
        tiny("smote"), problem, 0, store.put_images(train), generator.state_dict()
    )
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(packed, folder / "weights.pt")
    served = serving._load_pyfunc(str(folder))
    found = served.predict(np.array([0, 1, 1]), {"seed": 5})
    assert np.array_equal(found, draw(generator, [0, 1, 1], seed=5).numpy())
