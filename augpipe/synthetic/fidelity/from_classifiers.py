"""Metrics based on classifiers: agreement (GAN-test), inception score, two-sample test."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, t

from augpipe.comparison.units import Units
from augpipe.synthetic.embeddings import Embedded
from augpipe.synthetic.fidelity.base import Compared, RefusedError, metric

MOST: Final = 4000  # images per set in the two-sample test
LEAST_GROUPS: Final = 5  # of real and of synthetic images in each half


@metric("agreement")
def agreement(c: Compared) -> float:
    """Fraction of synthetic images whose class the real-only classifier predicts: GAN-test (Shmelkov et al. 2018)."""
    return float((c.synthetic.predicted == c.synthetic.classes).mean())


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
    one-sided). A group is in one half as a whole: its images resemble each other, and the classifier would recognise
    them. Answers on images of a group go together; with groups, p is that of a t-test of the accuracy, mean of real and
    synthetic, with the jackknife's variance over groups (see `comparison.units`). Synthetic images of a generator are
    independent.
    """
    a, b = c.even("c2st", MOST)
    real, synthetic = _groups(c.real, a), _groups(c.synthetic, b)
    for what, groups in (("real", real), ("synthetic", synthetic)):
        n = int(groups.max()) + 1
        if n < 2 * LEAST_GROUPS:
            raise RefusedError(f"needs {2 * LEAST_GROUPS} groups of {what} images, has {n}")
    # .6 s: imported only if used.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([c.real.vectors[a], c.synthetic.vectors[b]])
    y = np.arange(len(x)) >= len(a)
    training = np.concatenate([_half(groups, c.rng("halves")) for groups in (real, synthetic)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-3))
    classifier.fit(x[training], y[training])
    right = classifier.predict(x[~training]) == y[~training]
    units = Units(y[~training].astype(np.int64), np.concatenate([real, synthetic + len(real)])[~training])
    if not units.grouped:
        p = binomtest(int(right.sum()), len(right), 0.5, alternative="greater").pvalue
        return {"c2st": float(right.mean()), "c2st_p": float(p)}
    values = right.astype(np.float64)[None]
    accuracy = float(units.mean(values)[0])
    error = max(float(units.variance(values)[0]) ** 0.5, 1e-9)
    return {"c2st": accuracy, "c2st_p": float(t.sf((accuracy - 0.5) / error, units.degrees))}


def _groups(images: Embedded, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the group of each row, in the order in which they come."""
    groups = rows if images.groups is None else images.groups[rows]
    numbers: NDArray[np.int64] = pd.factorize(groups)[0].astype(np.int64)
    return numbers


def _half(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which images are in a random half of the groups."""
    n = int(groups.max()) + 1
    half: NDArray[np.bool_] = (rng.permutation(n) < n // 2)[groups]
    return half
