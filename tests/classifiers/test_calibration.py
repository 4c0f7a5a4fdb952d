"""Temperature scaling against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from augpipe.classifiers.calibration import calibrated, temperature


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_labels_drawn_from_softmax_of_z_over_t_give_t_back(true: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, (20_000, 4))
    labels = (softmax(z / true, 1).cumsum(1) < rng.random((len(z), 1))).sum(1)
    assert temperature(softmax(z, 1).astype(np.float32), labels) == pytest.approx(true, rel=0.05)


def test_it_is_scikit_learns() -> None:
    z = np.random.default_rng(2).normal(0, 4, (400, 4))
    labels = (softmax(z / 2, 1).cumsum(1) < np.random.default_rng(3).random((len(z), 1))).sum(1)

    class Logits(ClassifierMixin, BaseEstimator):
        """A fitted classifier whose decision values are its inputs."""

        def fit(self, x: np.ndarray, y: np.ndarray) -> Logits:
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, x: np.ndarray) -> np.ndarray:
            return x

        def predict(self, x: np.ndarray) -> np.ndarray:
            return x.argmax(1)

    fitted = FrozenEstimator(Logits().fit(z, labels))
    theirs = CalibratedClassifierCV(fitted, method="temperature").fit(z, labels).predict_proba(z)
    probabilities = softmax(z, 1).astype(np.float32)
    ours = calibrated(probabilities, temperature(probabilities, labels))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_it_is_the_softmax_of_scaled_logits_and_keeps_the_order() -> None:
    z = np.random.default_rng(1).normal(0, 2, (50, 5))
    probabilities = softmax(z, 1).astype(np.float32)
    scaled = calibrated(probabilities, 2.5)
    np.testing.assert_allclose(scaled, softmax(z / 2.5, 1), rtol=1e-4)
    assert (scaled.argmax(1) == probabilities.argmax(1)).all()
    np.testing.assert_allclose(calibrated(probabilities, 1.0), probabilities, rtol=1e-5)


def test_a_classifier_that_is_always_right_and_sure_has_finite_probabilities() -> None:
    probabilities = np.eye(3, dtype=np.float32)
    t = temperature(probabilities, np.arange(3))
    assert np.isfinite(calibrated(probabilities, t)).all() and np.isfinite(t)
