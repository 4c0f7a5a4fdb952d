"""The objective of a classifier: a loss per item, class weights, and when these apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch

from augpipe.classifiers.losses import ItemLoss, Loss
from augpipe.classifiers.options import Weighting
from augpipe.core.counts import Counts

LEAST: Final = 1e-12  # lower bound on the sum of weights
BETA: Final = 0.9999  # of the effective number of images (Cui et al. 2019)


class Named(NamedTuple):
    """Labels of items, (N,), and their weights, (N,) or None for 1. Blended items have two of these."""

    labels: torch.Tensor
    weights: torch.Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """item_loss: loss per item. weights: class weights (K,). defer: fraction of training after which these apply."""

    item_loss: ItemLoss
    weights: torch.Tensor | None = None
    defer: float = 0.0
    scale: float | None = None

    def __call__(self, logits: torch.Tensor, targets: Sequence[Named], done: float = 1.0) -> torch.Tensor:
        """Weighted mean of the loss over items and targets. done: fraction of training, in [0, 1]."""
        sums = [self._weighted_sum(logits, target, done) for target in targets]
        total, weight = (torch.stack(values).sum() for values in zip(*sums, strict=True))
        return total / weight.clamp(min=LEAST)  # 0 if all items weigh 0

    def _weighted_sum(self, logits: torch.Tensor, target: Named, done: float) -> tuple[torch.Tensor, torch.Tensor]:
        labels = target.labels.to(logits.device)
        weight = torch.ones_like(logits[:, 0])
        if self.weights is not None and done >= self.defer:
            weight = self.weights.to(logits.device)[labels]
        if target.weights is not None:
            weight = weight * target.weights.to(logits.device)
        return (self.item_loss(logits, labels) * weight).sum(), weight.sum()


def class_weights(weighting: Weighting, prior: torch.Tensor, counts: Counts) -> torch.Tensor | None:
    """Class weights (K,) in the loss, float32; None for `none`; 0 for a class that is never drawn.

    balanced: 1 / (K · p_c), so that every class weighs the same. For real images at their natural frequency n_c / n
    this is scikit-learn's `balanced` (King & Zeng 2001). effective: the total weight of a class is n_c / E_c, with E_c
    = (1 - BETA^n_c) / (1 - BETA) (Cui et al. 2019, eq. 2 and 4). prior: probability that each class is drawn, (K,): a
    sampler or synthetic images that balance the classes leave less to be done by weights. counts: real images.
    """
    if weighting == "none":
        return None
    drawn = prior > 0
    mass = torch.ones_like(prior)
    if weighting == "effective":
        n = torch.tensor([max(1, counts[c]) for c in sorted(counts)], dtype=torch.float64)
        mass = n * (1 - BETA) / (1 - BETA**n)
    raw = torch.where(drawn, mass / prior.clamp(min=1e-300), 0.0)
    return (raw / (raw * prior).sum()).float()


def objective(loss: Loss, weighting: Weighting, defer: float, prior: torch.Tensor, counts: Counts) -> Objective:
    """The objective of an arm; prior and counts as in `class_weights`."""
    return Objective(loss.item_loss(prior, counts), class_weights(weighting, prior, counts), defer, loss.scale)
