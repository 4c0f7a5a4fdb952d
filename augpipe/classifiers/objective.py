"""The objective of a classifier: a loss over items, the classes' weights in it, and when these set in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch

from augpipe.classifiers.losses import ItemLoss, Loss
from augpipe.classifiers.options import Weighting
from augpipe.core.counts import Counts

LEAST: Final = 1e-12
BETA: Final = 0.9999  # of the effective number of images (Cui et al. 2019)


class Named(NamedTuple):
    """What items are called, (N,), and how much each counts, (N,) or None for 1. A mixed item is called twice."""

    labels: torch.Tensor
    weights: torch.Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """A loss over items, the classes' weights (K,), and the share of training after which these set in."""

    item_loss: ItemLoss
    weights: torch.Tensor | None = None
    defer: float = 0.0
    scale: float | None = None

    def __call__(
        self, logits: torch.Tensor, names: Sequence[Named], done: float = 1.0
    ) -> torch.Tensor:
        """Weighted mean over items and over what they are called; done: share of training, in [0, 1]."""
        parts = [self._part(logits, name, done) for name in names]
        total, weight = (torch.stack(side).sum() for side in zip(*parts, strict=True))
        return total / weight.clamp(min=LEAST)  # nothing to learn where all items weigh 0

    def _part(
        self, logits: torch.Tensor, name: Named, done: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        labels = name.labels.to(logits.device)
        weight = torch.ones_like(logits[:, 0])
        if self.weights is not None and done >= self.defer:
            weight = self.weights.to(logits.device)[labels]
        if name.weights is not None:
            weight = weight * name.weights.to(logits.device)
        return (self.item_loss(logits, labels) * weight).sum(), weight.sum()


def class_weights(weighting: Weighting, prior: torch.Tensor, counts: Counts) -> torch.Tensor | None:
    """Weights (K,) of the classes in the loss, float32; None for none, 0 for a class that never comes.

    balanced: 1 / (K · p_c), so that every class weighs the same. For real images at their natural frequency n_c / n
    this is scikit-learn's `balanced` (King & Zeng 2001).
    effective: a class weighs n_c / E_c in all, with E_c = (1 - BETA^n_c) / (1 - BETA) (Cui et al. 2019, eq. 2 and 4).
    prior: how often each class is drawn, (K,): a sampler or synthetic images that even the classes out leave less to
    weigh. counts: real images.
    """
    if weighting == "none":
        return None
    comes = prior > 0
    mass = torch.ones_like(prior)
    if weighting == "effective":
        n = torch.tensor([max(1, counts[c]) for c in sorted(counts)], dtype=torch.float64)
        mass = n * (1 - BETA) / (1 - BETA**n)
    raw = torch.where(comes, mass / prior.clamp(min=1e-300), 0.0)
    return (raw / (raw * prior).sum()).float()


def objective(
    loss: Loss, weighting: Weighting, defer: float, prior: torch.Tensor, counts: Counts
) -> Objective:
    """The objective of an arm; prior and counts as in `class_weights`."""
    return Objective(
        loss.item_loss(prior, counts), class_weights(weighting, prior, counts), defer, loss.scale
    )
