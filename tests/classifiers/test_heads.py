"""Heads on planted Gaussian features, against references; and through the classifier that is served."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from augpipe.classifiers import train as classification
from augpipe.classifiers import trained as trained_classifier
from augpipe.classifiers.closed_heads import discriminant, nearest_mean, shared_covariance, tau_normalised
from augpipe.classifiers.features import Features, HeadData, LinearHead, macro_recall
from augpipe.classifiers.head_fits import fit
from augpipe.classifiers.heads import Calibrated, Head, Retrained, TauNormalised, heads
from augpipe.classifiers.mixing import Mixture
from augpipe.classifiers.options import ClassifierOptions, Mix
from augpipe.classifiers.refit import refit
from augpipe.classifiers.resampling import calibrated_statistics, nearest_rich, resampled, with_calibrated
from augpipe.core.errors import UserError
from augpipe.pipeline.arm import Arm

MEANS = np.array([[0.0, 0.0, 1.0], [2.5, 0.0, 1.0], [1.2, 2.0, 1.0]])
SPREAD = np.array([[1.0, 0.3, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 0.6]])
OPTIONS = ClassifierOptions(width=0.25, steps=4, batch=8, evaluations=1)
WEIGHT, BIAS = np.array([[3.0, 4.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 2.0]]), np.array([1.0, 1.0, -1.0])


def planted(counts: tuple[int, ...], seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    points = [MEANS[label] + rng.normal(size=(n, 3)) @ SPREAD for label, n in enumerate(counts)]
    return Features(np.concatenate(points), np.repeat(np.arange(3), counts))


def data_of(*counts: int) -> HeadData:
    return HeadData(planted(counts), planted((60, 60, 60), 1), np.array(counts), LinearHead(WEIGHT, BIAS))


@pytest.fixture(scope="module")
def tailed() -> HeadData:
    return data_of(300, 100, 6)


def test_lda_is_that_of_scikit_learn() -> None:
    data = data_of(80, 80, 80)
    points, labels = data.val.points, data.val.labels
    for shrinkage in (0.0, 0.4):
        head = discriminant(data, rich_only=False, shrinkage=shrinkage)
        reference = LinearDiscriminantAnalysis(
            solver="lsqr", priors=[1 / 3] * 3, covariance_estimator=_Fixed(data, shrinkage)
        ).fit(data.train.points, data.train.labels)
        mine = torch.softmax(torch.from_numpy(head.logits(points)), 1).numpy()
        assert np.allclose(mine, reference.predict_proba(points), atol=1e-9)
    plain = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(data.train.points, data.train.labels)
    head = discriminant(data, rich_only=False, shrinkage=0.0)
    assert np.allclose(torch.softmax(torch.from_numpy(head.logits(points)), 1), plain.predict_proba(points), atol=1e-9)
    assert macro_recall(head.logits(points), labels) > 0.7


class _Fixed:
    """An estimator whose covariance is the shared one, shrunk; scikit-learn averages those of the classes."""

    def __init__(self, data: HeadData, shrinkage: float) -> None:
        means = data.means()
        pooled = (data.train.points - means[data.train.labels]).T
        covariance = pooled @ pooled.T / pooled.shape[1]
        self.covariance_ = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 3 * np.eye(3)

    def fit(self, x: np.ndarray) -> _Fixed:
        return self


def test_ledoit_and_wolfs_covariance_of_the_rich_classes(tailed: HeadData) -> None:
    means = tailed.means()
    rich = tailed.train.of(0) - means[0]
    assert list(tailed.rich) == [0] and list(tailed.rare) == [1, 2]
    mine = shared_covariance(tailed, means, rich_only=True, shrinkage=None)
    assert np.allclose(mine, LedoitWolf(assume_centered=True).fit(rich).covariance_)


def test_nearest_means_by_hand(tailed: HeadData) -> None:
    points, labels = tailed.train.points, tailed.train.labels
    head = nearest_mean(tailed, cosine=False)
    reference = NearestCentroid().fit(points, labels).predict(tailed.val.points)
    assert np.array_equal(head.logits(tailed.val.points).argmax(1), reference)
    cosine = nearest_mean(tailed, cosine=True)
    m, x = tailed.means(), tailed.val.points
    by_hand = (x @ m.T) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(m, axis=1)
    assert np.allclose(cosine.logits(x), cosine.scale * by_hand)
    # T is at the optimum of the likelihood on val.
    best = _loss(head.logits(x), tailed)
    assert best < min(_loss(head.logits(x) * factor, tailed) for factor in (0.9, 1.1))


def _loss(logits: np.ndarray, data: HeadData) -> float:
    target = torch.from_numpy(data.val.labels)
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), target))


def test_tau_of_0_changes_nothing_and_of_1_gives_norms_of_1() -> None:
    base = LinearHead(WEIGHT, BIAS)
    assert np.array_equal(tau_normalised(base, 0.0).weight, WEIGHT)
    assert np.array_equal(tau_normalised(base, 0.0).bias, BIAS)
    assert np.allclose(np.linalg.norm(tau_normalised(base, 1.0).weight, axis=1), 1)
    assert np.allclose(tau_normalised(base, 0.5).weight[0], WEIGHT[0] / 5**0.5)


def test_tau_is_the_best_on_val(tailed: HeadData) -> None:
    recalls = [
        macro_recall(tau_normalised(tailed.base, k / 10).logits(tailed.val.points), tailed.val.labels)
        for k in range(11)
    ]
    assert max(recalls) > min(recalls)
    assert fit(TauNormalised(), tailed, 0).chosen["tau"] == pytest.approx(np.argmax(recalls) / 10)


def test_statistics_of_a_rare_feature_are_those_of_the_paper() -> None:
    """Equations 4 to 6 by hand: the two nearest of three rich classes, and the feature itself."""
    means = np.array([[0.0, 0.0], [4.0, 0.0], [100.0, 0.0]])
    covariances = np.stack([np.eye(2), 3 * np.eye(2), 50 * np.eye(2)])
    point = np.array([2.0, 3.0])
    near = nearest_rich(point, means, 2)
    assert sorted(near) == [0, 1] and list(nearest_rich(point, means, 9)[-1:]) == [2]
    mean, covariance = calibrated_statistics(point, means[near], covariances[near], 0.21)
    assert np.allclose(mean, [2.0, 1.0])
    assert np.allclose(covariance, [[2.21, 0.21], [0.21, 2.21]])


def test_calibration_fills_rare_classes_with_features_of_these_statistics() -> None:
    data = data_of(4000, 4000, 1)
    filled = with_calibrated(data.train, (data.rich, data.rare), 2, 0.1, 0)
    assert list(np.bincount(filled.labels)) == [4000, 4000, 4000]
    drawn = filled.of(2)[1:]
    rich = np.stack([data.train.of(label).mean(0) for label in (0, 1)])
    covariances = np.stack([np.cov(data.train.of(label), rowvar=False) for label in (0, 1)])
    mean, covariance = calibrated_statistics(data.train.of(2)[0], rich, covariances, 0.1)
    assert np.allclose(drawn.mean(0), mean, atol=0.07)
    assert np.allclose(np.cov(drawn, rowvar=False), covariance, atol=0.1)


def test_a_retrained_head_raises_the_recall_of_the_rare_class(tailed: HeadData) -> None:
    """The base: Bayes' rule with the classes as frequent as they are in train."""
    bayes = discriminant(tailed, rich_only=False, shrinkage=0.0)
    base = dataclasses.replace(bayes, bias=bayes.bias + np.log(tailed.counts))
    head = fit(Retrained(steps=100), dataclasses.replace(tailed, base=base), 0)
    rare = tailed.val.of(2)
    before, after = [(one.logits(rare).argmax(1) == 2).mean() for one in (base, head)]
    assert after > before + 0.15


@pytest.mark.parametrize("method", ["smote", "borderline", "adasyn"])
def test_samplers_make_classes_equal_and_stay_within(method: str, tailed: HeadData) -> None:
    counts = np.bincount(resampled(tailed.train, method, 5, 0).labels)
    assert counts[0] == 300 and (abs(counts - 300) <= 15).all()  # ADASYN rounds its densities
    added = resampled(tailed.train, method, 5, 0).points[406:]
    assert (added.min(0) >= tailed.train.points.min(0)).all() and (added.max(0) <= tailed.train.points.max(0)).all()


@pytest.mark.parametrize("method", ["smote", "borderline", "adasyn"])
def test_samplers_take_classes_of_one_feature_and_classes_far_apart(method: str) -> None:
    points = np.concatenate([np.random.default_rng(0).normal(size=(12, 3)) + 100 * label for label in range(2)])
    apart = Features(np.concatenate([points[:12], points[12:16], [[50.0] * 3]]), np.repeat([0, 1, 2], [12, 4, 1]))
    filled = resampled(apart, method, 5, 0)
    assert list(np.bincount(filled.labels)) == [12, 12, 12]
    assert (filled.of(2) == 50).all()


@pytest.fixture(scope="module")
def images():
    from shapes import shapes

    return shapes((24, 6)), shapes((6, 6), seed=1)


@pytest.fixture(scope="module")
def state(images):
    from augpipe.core import device

    here = device.start("cpu", "32-true", threads=1)
    mixture = Mixture(images[0], None, Mix(), here, seed=0)
    return trained_classifier.state_of(classification.train(mixture, images[1], OPTIONS, here, seed=0), OPTIONS)


@pytest.mark.parametrize("kind", list(heads))
def test_a_classifier_with_a_new_head_goes_through_a_file(kind: str, here, images, state) -> None:
    """The stored classifier gives the logits of the head, and the same again; other weights stay."""
    train, val = images
    head = Mix(head={"kind": kind, **({"steps": 10} if "steps" in heads[kind].model_fields else {})}).head
    outputs = []
    for _ in range(2):
        trained = trained_classifier.from_state(state, here)
        refit(trained, head, "light", (train, val), here, seed=0)
        weights = trained.net.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in state["weights"].items() if "head" not in name)
        back = trained_classifier.from_state(trained_classifier.state_of(trained, OPTIONS), here)
        outputs.append(trained_classifier.predict(back, val, here))
        assert np.array_equal(outputs[-1], trained_classifier.predict(trained, val, here))
    assert np.array_equal(*outputs)


def test_the_module_computes_the_logits_of_the_fitted_head(here, images, state, monkeypatch) -> None:
    trained = trained_classifier.from_state(state, here)
    fitted: list[LinearHead] = []

    def kept(head: Head, data: HeadData, seed: int) -> LinearHead:
        fitted.append(fit(head, data, seed))
        return fitted[0]

    monkeypatch.setattr("augpipe.classifiers.refit.fit", kept)
    refit(trained, Calibrated(steps=10, dispersion=0.0), None, images, here, seed=0)
    features, probabilities = trained_classifier.embed_and_predict(trained, images[1], here)
    expected = torch.softmax(torch.from_numpy(fitted[0].logits(features.astype(np.float64))), 1).numpy()
    assert np.allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"head": "crf"}, "unknown head 'crf'"),
        ({"head": {"kind": "tau", "tau": 3}}, "tau"),
        ({"head": "tau", "loss": "ldam"}, "head: tau scales the weights of a linear head, and loss: ldam"),
        ({"head": {"kind": "crt", "views": 2}}, "views: 2 has no effect with transform: null"),
        ({"head": {"kind": "tau", "views": 2}, "transform": "light"}, "unknown key 'views'"),
        ({"head": {"kind": "lda", "shrinkage": 2}}, "shrinkage"),
    ],
)
def test_mistakes_are_refused(mix: dict, message: str) -> None:
    with pytest.raises((ValidationError, UserError), match=message):
        Mix(**mix)


def test_a_name_alone_is_a_head_with_its_defaults() -> None:
    assert Mix(head="lda").head == heads["lda"]()


def test_an_arm_with_a_generator_has_no_head() -> None:
    with pytest.raises(ValidationError, match=r"mix.head of arm 'a' is fitted to the features of real images alone"):
        Arm(name="a", generator="g", mix=Mix(head="lda"))
