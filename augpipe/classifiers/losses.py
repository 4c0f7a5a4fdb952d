"""What a classifier makes small: losses for imbalanced classes, their weights, and when these set in.

`loss: focal` and `loss: {kind: focal, gamma: 2}` are the same. A loss gives a value for each item; weights and mixed
labels are the objective's, so that every loss goes with every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, SerializeAsAny, ValidationError
from torch.nn import functional as F

from augpipe.core.errors import UserError
from augpipe.core.images import Counts
from augpipe.core.registry import Registry
from augpipe.core.schema import OneOf, Strict, explain

ItemLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # logits (N,K), labels (N,) → (N,)
Weighting = Literal["none", "balanced", "effective"]
LEAST = 1e-12
BETA = 0.9999  # of the effective number of images


class Loss(Strict):
    """A loss and its settings.

    Its logits are those of a linear head, or with `scale` of a cosine head, scale · cos(features, class).
    """

    kind: str
    scale: float | None = Field(default=None, gt=0)

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """prior: how often each class is drawn, (K,). counts: its real training images."""
        raise NotImplementedError


losses: Registry[type[Loss]] = Registry("loss")


@losses.register("cross_entropy")
class CrossEntropy(Loss):
    """-log p_y, with label smoothing (Szegedy et al. 2016, section 7)."""

    kind: str = "cross_entropy"
    smoothing: float = Field(default=0.0, ge=0, lt=1)

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        return lambda z, y: F.cross_entropy(z, y, reduction="none", label_smoothing=self.smoothing)


@losses.register("focal")
class Focal(Loss):
    """-(1 - p_y)^gamma log p_y: what is right already counts little (Lin et al. 2017, eq. 4)."""

    gamma: float = Field(default=2.0, ge=0)

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""

        def focal(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            log_p = -F.cross_entropy(z, y, reduction="none")
            # 1 - p is 0 up to rounding where p is 1, and its power has no gradient there.
            missing: torch.Tensor = -torch.expm1(log_p)
            return missing.clamp(min=1e-12) ** self.gamma * -log_p

        return focal


@losses.register("logit_adjustment")
class LogitAdjustment(Loss):
    """Cross-entropy of z + tau · log(prior) (Menon et al. 2021, eq. 10); prediction takes z alone.

    The prior is that of what is drawn: over balanced batches nothing is left to adjust.
    """

    tau: float = Field(default=1.0, ge=0)

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        # A class that never comes would be -inf, and -inf times a tau of 0 no number.
        shift = self.tau * prior.clamp(min=1e-12).log().float()
        return lambda z, y: F.cross_entropy(z + shift.to(z.device), y, reduction="none")


@losses.register("ldam")
class LDAM(Loss):
    """Cross-entropy after the item's own class gave up a margin C / n_y^(1/4) (Cao et al. 2019, eq. 12 and 13).

    margin: of the class with the fewest real images. On cosines, as in the paper's code; with `weights: effective,
    defer: 0.8` it is LDAM-DRW.
    """

    margin: float = Field(default=0.5, ge=0)
    scale: float | None = Field(default=30.0, gt=0)

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        n = torch.tensor([max(1, counts[c]) for c in sorted(counts)], dtype=torch.float64)
        margins = self.margin * (n.min() / n) ** 0.25
        given_up = (margins * (self.scale or 1.0)).float()

        def ldam(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            less = F.one_hot(y, z.shape[1]) * given_up.to(z.device)
            return F.cross_entropy(z - less, y, reduction="none")

        return ldam


def _resolve(value: Any) -> Any:
    if isinstance(value, Loss):
        return value
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping) or "kind" not in value:
        raise UserError(f"a loss is a name, or a mapping with a kind; got {value!r}")
    try:
        return losses[value["kind"]].model_validate(value)
    except ValidationError as error:
        raise UserError(explain(error)) from None


AnyLoss = Annotated[SerializeAsAny[Loss], OneOf(_resolve, "kind", losses.items)]


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
