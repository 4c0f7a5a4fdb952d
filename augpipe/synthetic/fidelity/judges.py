"""Metrics based on classifiers: agreement (GAN-test), inception score, two-sample test."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from augpipe.synthetic.fidelity.base import Compared, metric

MOST: Final = 4000  # images per set in the two-sample test


@metric("agreement")
def agreement(c: Compared) -> float:
    """Fraction of synthetic images whose class the real-only classifier predicts: GAN-test (Shmelkov et al. 2018)."""
    return float((c.synthetic.predicted == c.synthetic.labels).mean())


@metric("inception_score", least=20)
def inception_score(c: Compared) -> float:
    """exp E KL(p(y|x) || p(y)) over the real-only classifier (Salimans et al. 2016); 1 to the number of classes.

    It detects neither a dropped mode within a class nor a copied image; within one class it is near 1 by definition.
    """
    p = c.synthetic.probabilities.astype(np.float64).clip(1e-12)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


@metric("c2st", "c2st_p", least=20)
def c2st(c: Compared) -> dict[str, float]:
    """Accuracy of a logistic regression of real against synthetic on held-out halves (Lopez-Paz & Oquab 2017).

    .5: real and synthetic are indistinguishable. c2st_p: probability of as many correct answers by chance (binomial,
    one-sided).
    """
    a, b = c.even("c2st", MOST)
    x = np.concatenate([c.real.vectors[a], c.synthetic.vectors[b]])
    y = np.arange(len(x)) >= len(a)
    training = np.concatenate([c.rng("halves").permutation(len(a)) < len(a) // 2 for _ in range(2)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-3))
    classifier.fit(x[training], y[training])
    right = classifier.predict(x[~training]) == y[~training]
    p = binomtest(int(right.sum()), len(right), 0.5, alternative="greater").pvalue
    return {"c2st": float(right.mean()), "c2st_p": float(p)}
