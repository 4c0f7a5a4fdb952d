"""Losses of a classifier for imbalanced classes, each with its options.

`loss: focal` and `loss: {kind: focal, gamma: 2}` are the same. A loss gives a value per item; class weights and mixed
labels are applied by the objective (see `objective`), so that they combine with every loss. torch is imported when a
loss is built, not when a config is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field, SerializeAsAny

from augpipe.core.counts import Counts
from augpipe.core.registry import Registry
from augpipe.core.schema import OneOf, Strict

if TYPE_CHECKING:
    import torch

# Logits (N,K), labels (N,) → (N,).
ItemLoss: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"


class Loss(Strict):
    """A loss and its options."""

    kind: str
    """Name of the loss."""

    scale: float | None = Field(default=None, gt=0)
    """null: the logits of a linear head. A number: those of a cosine head, scale * cos(features, class weights)."""

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """The loss function per item. prior: probability that each class is drawn, (K,).
        counts: real training images.
        """
        raise NotImplementedError


losses: Registry[type[Loss]] = Registry("loss")


@losses.register("cross_entropy")
class CrossEntropy(Loss):
    """-log p_y, with label smoothing (Szegedy et al. 2016, section 7)."""

    kind: str = "cross_entropy"
    """Name of the loss."""

    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing: fraction of the label that is spread over all classes."""

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        from torch.nn import functional as F

        return lambda z, y: F.cross_entropy(z, y, reduction="none", label_smoothing=self.smoothing)


@losses.register("focal")
class Focal(Loss):
    """-(1 - p_y)^gamma log p_y: items that are already right count little (Lin et al. 2017, eq. 4)."""

    gamma: float = Field(default=2.0, ge=0)
    """Exponent: 0 is cross-entropy; larger values weigh well-classified items less."""

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        import torch
        from torch.nn import functional as F

        def focal(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            log_p = -F.cross_entropy(z, y, reduction="none")
            # For p = 1, 1 - p is 0 up to rounding, and its power has no gradient.
            missing: torch.Tensor = -torch.expm1(log_p)
            return missing.clamp(min=1e-12) ** self.gamma * -log_p

        return focal


@losses.register("logit_adjustment")
class LogitAdjustment(Loss):
    """Cross-entropy of z + tau · log(prior) (Menon et al. 2021, eq. 10); predictions use z alone.

    The prior is that of the drawn batches: with balanced batches the adjustment is constant.
    """

    tau: float = Field(default=1.0, ge=0)
    """Strength of the adjustment: 1 is consistent for the balanced error, 0 is cross-entropy."""

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        from torch.nn import functional as F

        # A class that is never drawn would have -inf, and -inf times a tau of 0 is nan.
        shift = self.tau * prior.clamp(min=1e-12).log().float()
        return lambda z, y: F.cross_entropy(z + shift.to(z.device), y, reduction="none")


@losses.register("ldam")
class LDAM(Loss):
    """Cross-entropy with the logit of the item's class lowered by C / n_y^(1/4) (Cao et al. 2019, eq. 12 and 13).

    With `weights: effective, defer: 0.8` it is LDAM-DRW.
    """

    margin: float = Field(default=0.5, ge=0)
    """Margin of the class with the fewest real images; other classes have smaller ones."""

    scale: float | None = Field(default=30.0, gt=0)
    """Scale of the cosine head, as in the paper's code. null: a linear head."""

    def item_loss(self, prior: torch.Tensor, counts: Counts) -> ItemLoss:
        """See the class."""
        import torch
        from torch.nn import functional as F

        n = torch.tensor([max(1, counts[c]) for c in sorted(counts)], dtype=torch.float64)
        margins = self.margin * (n.min() / n) ** 0.25
        scaled_margins = (margins * (self.scale or 1.0)).float()

        def ldam(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            lowered = F.one_hot(y, z.shape[1]) * scaled_margins.to(z.device)
            return F.cross_entropy(z - lowered, y, reduction="none")

        return ldam


AnyLoss = Annotated[SerializeAsAny[Loss], OneOf(Loss, "a loss", "kind", losses.__getitem__, losses.items, by_name=True)]
