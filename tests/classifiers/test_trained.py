from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.models import Shape, build, classifiers
from augpipe.classifiers.options import WITH_WIDTH, ClassifierOptions, Mix

QUICK = ClassifierOptions(width=0.25, steps=40, batch=16, evaluations=4)


def test_a_cosine_head_goes_through_a_file(here, make_shapes) -> None:
    train, val = make_shapes((20, 8)), make_shapes((5, 5), seed=1)
    mixture = Mixture(train, None, Mix(loss="ldam"), here, seed=0)
    trained = classification.train(mixture, val, QUICK, here, seed=0)
    back = trained_classifier.from_state(trained_classifier.state_of(trained, QUICK), here)
    assert np.array_equal(trained_classifier.predict(back, val, here), trained_classifier.predict(trained, val, here))
    logits = trained.net(trained_classifier.inputs(val.tensors()[0], None, False, here))
    assert float(logits.detach().abs().max()) <= 30.0 + 1e-3


@pytest.mark.parametrize("kind", list(classifiers))
def test_every_classifier_through_a_file(kind, here, make_shapes) -> None:
    width = {"width": 0.25} if kind in WITH_WIDTH else {}
    options = ClassifierOptions(kind=kind, steps=2, batch=8, evaluations=1, **width)
    train = make_shapes((6, 6), channels=3)
    trained = classification.train(Mixture(train, None, Mix(), here, seed=0), train, options, here, seed=0)
    buffer = io.BytesIO()
    torch.save(trained_classifier.state_of(trained, options), buffer)
    buffer.seek(0)
    back = trained_classifier.from_state(torch.load(buffer, weights_only=True), here)
    assert np.array_equal(
        trained_classifier.predict(back, train, here), trained_classifier.predict(trained, train, here)
    )
    features, _ = trained_classifier.embed_and_predict(back, train, here)
    assert features.shape[0] == 12 and features.dtype == np.float32
    head = trained.net.head
    logits = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert np.allclose(
        torch.softmax(torch.from_numpy(logits), 1).numpy(), trained_classifier.predict(back, train, here), atol=1e-5
    )


def test_features_and_probabilities_of_one_pass_are_those_of_two(here, make_shapes) -> None:
    images = make_shapes((30, 20))
    options = ClassifierOptions(width=0.25, steps=3)
    net = build(options, Shape(1, 2, options.width), torch.Generator().manual_seed(0))
    here.place(net).eval()
    judge = trained_classifier.Trained(net, False, 0, [])
    vectors, probabilities = trained_classifier.embed_and_predict(judge, images, here)
    assert np.array_equal(probabilities, trained_classifier.predict(judge, images, here))
    with torch.no_grad():
        x = trained_classifier.inputs(images.tensors()[0], None, False, here)
        assert np.allclose(vectors, net.features(x).numpy(), atol=1e-6)


def test_features_beside_synthetic_ones(here, make_shapes) -> None:
    """Against a plain loop: the k nearest by Euclid, their mean, the weighted sum, then the head."""
    train, val = make_shapes((30, 30)), make_shapes((9, 9), seed=1)
    made = make_shapes((6, 6), seed=2)
    trained = classification.train(
        Mixture(train, None, Mix(sampler="balanced"), here, seed=0), val, QUICK, here, seed=0
    )
    own, plain = trained_classifier.embed_and_predict(trained, val, here)
    points, _ = trained_classifier.embed_and_predict(trained, made, here)
    moved = []
    for x in own:
        near = sorted(points, key=lambda p, x=x: float(((p - x) ** 2).sum()))[:3]
        moved.append(0.6 * x + 0.4 * np.mean(near, axis=0))
    head = trained.net.head
    with torch.no_grad(), here.autocast():
        wanted = torch.softmax(head(torch.from_numpy(np.stack(moved))).float(), 1).numpy()
    found = trained_classifier.predict_beside(trained, val, made, 3, 0.4, here)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert np.abs(found - plain).max() > 1e-3  # far over what is taken for equal
    for others, k, weight in ((made, 3, 0.0), (val, 1, 1.0), (made.take(np.arange(0)), 3, 1.0)):
        same = trained_classifier.predict_beside(trained, val, others, k, weight, here)
        assert same == pytest.approx(plain, abs=1e-5)
    # Fewer synthetic images than asked for: all of them.
    all_ = trained_classifier.predict_beside(trained, val, made, 1000, 0.4, here)
    assert all_ == pytest.approx(trained_classifier.predict_beside(trained, val, made, 12, 0.4, here))
