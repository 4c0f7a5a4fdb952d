"""Downstream classifiers: a small CNN, and torchvision backbones with a stem for small images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import nn

from augpipe.kinds import Registry
from augpipe.nn.blocks import Dropout, initialise, use_rng
from augpipe.schema import Strict


@dataclass(frozen=True)
class Shape:
    """What a classifier is built for: input channels (image's and flag's), classes, a width multiple."""

    channels: int
    classes: int
    width: float


class Classifier(nn.Module):
    """trunk: (N,C,H,W) in [-1,1] → features (N,F); head: features → logits (N,K)."""

    def __init__(self, trunk: nn.Module, features: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = trunk
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Penultimate activations (N,F), float32."""
        found: torch.Tensor = self.trunk(x)
        return found.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N,K), float32."""
        logits: torch.Tensor = self.head(self.dropout(self.trunk(x)))
        return logits.float()


Build = Callable[[Shape], Classifier]
classifiers: Registry[Build] = Registry("classifier")


@classifiers.register("small_cnn")
def small_cnn(shape: Shape) -> Classifier:
    """Three stages of two conv3-BN-ReLU, halved in between, then the mean over positions."""
    widths = [max(8, round(shape.width * w)) for w in (32, 64, 128)]
    layers: list[nn.Module] = []
    below = shape.channels
    for stage, width in enumerate(widths):
        for _ in range(2):
            layers += [
                nn.Conv2d(below, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            below = width
        if stage < len(widths) - 1:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Classifier(nn.Sequential(*layers), below, shape.classes, dropout=0.3)


@classifiers.register("resnet18")
def resnet18(shape: Shape) -> Classifier:
    """ResNet-18 (He et al. 2016) whose stem is one conv3 without pooling, as for CIFAR."""
    # torchvision takes 160 MB and two seconds of every process that imports it.
    from torchvision.models import resnet18 as backbone

    net = backbone(weights=None)
    net.conv1 = nn.Conv2d(shape.channels, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    net.fc = nn.Identity()
    return Classifier(net, 512, shape.classes)


def _known(kind: str) -> str:
    classifiers[kind]
    return kind


class ClassifierOptions(Strict):
    """The classifier and how long and how fast it learns; the same for every arm."""

    kind: Annotated[str, AfterValidator(_known)] = "small_cnn"
    width: float = Field(default=1.0, gt=0, le=16)
    steps: int = Field(default=600, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    evaluations: int = Field(default=10, ge=1)  # on val, evenly over the steps; the best is kept


def build(options: ClassifierOptions, shape: Shape, rng: torch.Generator) -> Classifier:
    """A fresh classifier whose weights, and later dropout, are drawn from `rng`."""
    net = classifiers[options.kind](shape)
    initialise(net, rng)
    use_rng(net, rng)
    return net
