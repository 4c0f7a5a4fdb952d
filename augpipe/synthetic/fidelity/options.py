"""How synthetic images are measured."""

from __future__ import annotations

from pydantic import Field

from augpipe.core.schema import Strict
from augpipe.synthetic.extractors import FeatureName


class FidelityOptions(Strict):
    """features: what images are compared by. images: how many of each class are drawn for it.

    features: `domain`, the real-only classifier's; `torchvision:MODEL` or `inception` with published weights.
    gan_train: whether a classifier is also trained on the synthetic images alone, and scored on val.
    """

    features: FeatureName = "domain"
    images: int = Field(default=200, ge=2)
    gan_train: bool = True
