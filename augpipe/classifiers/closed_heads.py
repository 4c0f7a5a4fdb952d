"""Heads in closed form: tau-normalisation, nearest class mean, linear discriminant analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.covariance import ledoit_wolf, shrunk_covariance

from augpipe.classifiers.features import Array, HeadData, LinearHead, log_loss, macro_recall

BOUNDS: Final = (1e-3, 1e4)  # of a factor of logits


def best_on_val(candidates: Sequence[LinearHead], data: HeadData) -> LinearHead:
    """The head with the highest macro recall on val; among equals the first."""
    labels = data.val.labels
    return max(candidates, key=lambda head: macro_recall(head.logits(data.val.points), labels))


def tau_normalised(base: LinearHead, tau: float) -> LinearHead:
    """Weights w_c / |w_c|^tau (Kang et al. 2020, section 4), and the bias divided alike."""
    norms = np.linalg.norm(base.weight, axis=1)
    factors = np.where(norms > 0, norms, 1.0) ** -tau
    return LinearHead(factors[:, None] * base.weight, factors * base.bias, chosen={"tau": tau})


def nearest_mean(data: HeadData, *, cosine: bool) -> LinearHead:
    """Logits -d(x, m_c) / T up to a constant, with T of the highest likelihood on val (Mensink et al. 2013).

    Half the squared distance is x·x/2 - x·m_c + m_c·m_c/2, of which the first term is the same for every class; the
    cosine distance is 1 - cos(x, m_c).
    """
    means = data.means()
    if cosine:
        chosen = {"cosine": 1.0}
        head = LinearHead(means, np.zeros(len(means)), scale=1.0, chosen=chosen)
        return replace(head, scale=_factor(head, data))
    head = LinearHead(means, -0.5 * (means**2).sum(1), chosen={"cosine": 0.0})
    factor = _factor(head, data)
    return replace(head, weight=factor * head.weight, bias=factor * head.bias)


def _factor(head: LinearHead, data: HeadData) -> float:
    """The factor 1 / T of the logits with the highest likelihood on val."""
    logits, labels = head.logits(data.val.points), data.val.labels

    def loss(log_factor: float) -> float:
        return log_loss(np.exp(log_factor) * logits, labels)

    optimum = minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded")
    return float(np.exp(optimum.x))


def discriminant(data: HeadData, *, rich_only: bool, shrinkage: float | None) -> LinearHead:
    """Logits x'S⁻¹m_c - m_c'S⁻¹m_c / 2 (Hastie et al. 2009, eq. 4.10, with equal priors).

    S: see `shared_covariance`.
    """
    means = data.means()
    covariance = shared_covariance(data, means, rich_only=rich_only, shrinkage=shrinkage)
    # Features that never vary have no variance: the pseudo-inverse leaves them out.
    weight = means @ np.linalg.pinv(covariance, hermitian=True)
    return LinearHead(weight, -0.5 * (weight * means).sum(1))


def shared_covariance(data: HeadData, means: Array, *, rich_only: bool, shrinkage: float | None) -> Array:
    """Covariance (F,F) of features around the means of their classes; shrinkage: None for Ledoit & Wolf's (2004)."""
    labels = data.train.labels
    rows = np.isin(labels, data.rich) if rich_only else np.ones(len(labels), bool)
    deviations = (data.train.points - means[labels])[rows]
    if shrinkage is None:
        shrunk: Array = ledoit_wolf(deviations, assume_centered=True)[0]
    else:
        shrunk = shrunk_covariance(deviations.T @ deviations / len(deviations), shrinkage)
    return shrunk
