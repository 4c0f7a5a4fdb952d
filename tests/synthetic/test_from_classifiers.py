"""Agreement, inception score and two-sample test of a classifier."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from embeddings import Passes, double, embedded, gauss, sides
from torch_fidelity.metric_isc import isc_features_to_metric
from torchmetrics.image.inception import InceptionScore

from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity import Compared, from_classifiers


def test_agreement_is_the_share_that_is_confirmed() -> None:
    c = Compared(embedded(gauss(8, 3)), embedded(gauss(40, 3), wrong=0.25))
    assert from_classifiers.agreement(c) == 0.75


def drawn_probabilities(n: int, k: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(k, 0.4), n).astype(np.float32)


def seen_as(probabilities: np.ndarray) -> Compared:
    base = embedded(gauss(len(probabilities), 3))
    seen = Embedded(base.vectors, probabilities, base.labels, base.images)
    return Compared(base, seen)


def test_inception_score_is_torchmetrics() -> None:
    p = drawn_probabilities(120, 5)
    with warnings.catch_warnings():
        # It keeps all features, and the deviation of a single split is nan: it says both.
        warnings.simplefilter("ignore", UserWarning)
        theirs = InceptionScore(feature=Passes(), splits=1)
        theirs.update(double(p).clamp(min=1e-12).log())
        expected = float(theirs.compute()[0])
    assert from_classifiers.inception_score(seen_as(p)) == pytest.approx(expected, rel=1e-6)


def test_inception_score_is_torch_fidelitys() -> None:
    p = drawn_probabilities(120, 5)
    log_p = double(p).clamp(min=1e-12).log()
    expected = isc_features_to_metric(log_p, splits=1, shuffle=False)["inception_score_mean"]
    assert from_classifiers.inception_score(seen_as(p)) == pytest.approx(expected, rel=1e-6)


def test_inception_score_lies_between_one_and_the_number_of_classes() -> None:
    sure = np.eye(4, dtype=np.float32).repeat(10, 0)
    assert from_classifiers.inception_score(seen_as(sure)) == pytest.approx(4, rel=1e-6)
    assert from_classifiers.inception_score(seen_as(sure[:10])) == pytest.approx(1, rel=1e-6)
    assert from_classifiers.inception_score(seen_as(np.full((40, 4), 0.25, np.float32))) == pytest.approx(1)


def test_two_sample_classifier_tells_apart_what_is_apart() -> None:
    apart = from_classifiers.c2st(sides(150, 300, d=10, shift=3)[2])
    assert apart["c2st"] > 0.95 and apart["c2st_p"] < 1e-6


def test_two_sample_p_is_rarely_small_where_nothing_differs() -> None:
    found = [from_classifiers.c2st(sides(60, 60, d=10, shift=0, seed=2 * s)[2]) for s in range(60)]
    assert np.mean([f["c2st"] for f in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([f["c2st_p"] <= 0.05 for f in found]) <= 0.12


def test_two_sample_classifier_settles_on_wide_features() -> None:
    """2048 features of a wide range, some of them dead; a fit that does not settle warns, and fails here."""
    x, y, _ = sides(400, 400, d=2048, shift=0.2)
    scale = np.logspace(-4, 4, 2048).astype(np.float32)
    scale[::7] = 0
    found = from_classifiers.c2st(Compared(embedded(x * scale), embedded(y * scale)))
    assert found["c2st"] > 0.9
