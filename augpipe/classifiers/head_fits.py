"""How each head is fitted to the features of real images; options that are open are chosen on val, by macro recall."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Final

from augpipe.classifiers.closed_heads import best_on_val, discriminant, nearest_mean, tau_normalised
from augpipe.classifiers.features import Features, HeadData, LinearHead, transformed
from augpipe.classifiers.head_training import train_head
from augpipe.classifiers.heads import Calibrated, Discriminant, Head, NearestMean, Resampled, Retrained, TauNormalised
from augpipe.classifiers.resampling import resampled, with_calibrated

TAUS: Final = tuple(round(0.1 * k, 1) for k in range(11))  # tried by `tau: search`
DISPERSIONS: Final = (0.0, 0.021, 0.21)  # tried by `dispersion: search`; the last one is the paper's


@singledispatch
def fit(head: Head, data: HeadData, seed: int) -> LinearHead:
    """The head of these options for the features; NotImplementedError for a class of options without a function."""
    raise NotImplementedError(type(head).__name__)


@fit.register
def _retrained(head: Retrained, data: HeadData, seed: int) -> LinearHead:
    return train_head(data.train, data, head, seed)


@fit.register
def _tau(head: TauNormalised, data: HeadData, seed: int) -> LinearHead:
    taus = TAUS if head.tau == "search" else (head.tau,)
    return best_on_val([tau_normalised(data.base, tau) for tau in taus], data)


@fit.register
def _nearest_mean(head: NearestMean, data: HeadData, seed: int) -> LinearHead:
    kinds = ("cosine", "euclidean") if head.distance == "search" else (head.distance,)
    return best_on_val([nearest_mean(data, cosine=kind == "cosine") for kind in kinds], data)


@fit.register
def _discriminant(head: Discriminant, data: HeadData, seed: int) -> LinearHead:
    shrinkage = None if head.shrinkage == "auto" else head.shrinkage
    return discriminant(data, rich_only=head.covariance == "rich", shrinkage=shrinkage)


@fit.register
def _calibrated(head: Calibrated, data: HeadData, seed: int) -> LinearHead:
    """Trained on transformed real features and, for rare classes, on ones from calibrated Gaussians."""
    train = Features(transformed(data.train.points, head.power), data.train.labels)
    fitted = []
    for dispersion in DISPERSIONS if head.dispersion == "search" else (head.dispersion,):
        filled = with_calibrated(train, (data.rich, data.rare), head.neighbours, dispersion, seed)
        one = train_head(filled, data, head, seed, head.power)
        fitted.append(replace(one, chosen={**one.chosen, "dispersion": dispersion}))
    return best_on_val(fitted, data)


@fit.register
def _resampled(head: Resampled, data: HeadData, seed: int) -> LinearHead:
    return train_head(resampled(data.train, head.kind, head.neighbours, seed), data, head, seed)
