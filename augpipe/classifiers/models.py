"""Classifiers: small CNNs, and torchvision backbones with a stem for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import torch
from torch import nn
from torch.nn import functional as F

from augpipe.classifiers.options import ClassifierOptions
from augpipe.core.errors import UserError, choices
from augpipe.core.registry import Registry
from augpipe.core.weights import published_file, reading, torchvision_state
from augpipe.nn.blocks import Dropout, initialise, use_rng
from augpipe.nn.norms import norms_apart


@dataclass(frozen=True)
class Shape:
    """Parameters of an architecture: input channels (image and origin flag), classes, width multiple.

    scale: of a cosine head; None for a linear head. pretrained: shaped for published weights. apart: a second set of
    batch norms, for synthetic images. power: of the features before a linear head; None for 1.
    """

    channels: int
    classes: int
    width: float
    scale: float | None = None
    pretrained: bool = False
    apart: bool = False
    power: float | None = None


class CosineLinear(nn.Linear):
    """Cosine head: features (N,F) → scale · cos(features, class weights), (N,K)."""

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__(features, classes, bias=False)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        weight = F.normalize(self.weight.float())
        return self.scale * F.linear(F.normalize(x.float()), weight)


class PowerLinear(nn.Linear):
    """Linear head of powers: features x (N,F) → W · sign(x) |x|^power + b, (N,K)."""

    def __init__(self, features: int, classes: int, power: float) -> None:
        super().__init__(features, classes)
        self.power = power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = x.float()
        return super().forward(x.sign() * x.abs() ** self.power)


def head_of(shape: Shape, features: int) -> nn.Linear:
    """The head of a shape: features (N,F) → logits (N,K)."""
    if shape.scale is not None:
        return CosineLinear(features, shape.classes, shape.scale)
    if shape.power is not None:
        return PowerLinear(features, shape.classes, shape.power)
    return nn.Linear(features, shape.classes)


class Classifier(nn.Module):
    """trunk: (N,C,H,W) in [-1,1] → features (N,F); head: features → logits (N,K)."""

    def __init__(self, trunk: nn.Module, features: int, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.trunk = trunk
        self.dropout = Dropout(dropout)
        self.head = head_of(shape, features)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Penultimate activations (N,F), float32."""
        features: torch.Tensor = self.trunk(x)
        return features.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N,K), float32."""
        logits: torch.Tensor = self.head(self.dropout(self.trunk(x)))
        return logits.float()


Build = Callable[[Shape], Classifier]
COUNTER: Final = "num_batches_tracked"
classifiers: Registry[Build] = Registry("classifier")


@classifiers.register("small_cnn")
def small_cnn(shape: Shape) -> Classifier:
    """Three stages of two conv3-BN-ReLU with max pooling in between, then global average pooling."""
    widths = [max(8, round(shape.width * w)) for w in (32, 64, 128)]
    layers: list[nn.Module] = []
    below = shape.channels
    for stage, width in enumerate(widths):
        for _ in range(2):
            layers += [nn.Conv2d(below, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            below = width
        if stage < len(widths) - 1:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Classifier(nn.Sequential(*layers), below, shape, dropout=0.3)


class CifarBlock(nn.Module):
    """conv3-BN-ReLU-conv3-BN with a parameter-free shortcut: subsampled, zero-padded channels (He et al. 2016, 4.2)."""

    def __init__(self, below: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, width - below
        self.layers = nn.Sequential(
            nn.Conv2d(below, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) → (N,W,H/s,W/s)."""
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(self.layers(x) + F.pad(shortcut, (0, 0, 0, 0, 0, self.more)))


@classifiers.register("resnet32")
def resnet32(shape: Shape) -> Classifier:
    """ResNet-32 for CIFAR: three stages of five blocks, 16 to 64 channels (He et al. 2016, 4.2)."""
    widths = [max(8, round(shape.width * w)) for w in (16, 32, 64)]
    layers: list[nn.Module] = [
        nn.Conv2d(shape.channels, widths[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    below = widths[0]
    for stage, width in enumerate(widths):
        for block in range(5):
            layers.append(CifarBlock(below, width, 2 if stage and not block else 1))
            below = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Classifier(nn.Sequential(*layers), below, shape)


def _resnet(name: str) -> Build:
    def build(shape: Shape) -> Classifier:
        # Imported on use: torchvision costs 160 MB and two seconds per process.
        from torchvision.models import get_model

        net = get_model(name, weights=None)
        features = net.fc.in_features
        # Published weights have a 7x7 kernel: it is kept, with stride 1.
        kernel = 7 if shape.pretrained else 3
        net.conv1 = nn.Conv2d(shape.channels, 64, kernel, padding=kernel // 2, bias=False)
        net.maxpool, net.fc = nn.Identity(), nn.Identity()
        return Classifier(net, features, shape)

    return build


# He et al. 2016; no pooling in the stem.
classifiers.register("resnet18")(_resnet("resnet18"))
classifiers.register("resnet34")(_resnet("resnet34"))
classifiers.register("resnet50")(_resnet("resnet50"))


def _mobile(name: str, features: int, drop: float) -> Build:
    def build(shape: Shape) -> Classifier:
        from torchvision.models import get_model

        # torchvision's stochastic depth would draw from the global generator.
        options = {} if name.startswith("mobilenet") else {"stochastic_depth_prob": 0.0}
        net = get_model(name, weights=None, **options)
        stem = net.features[0]
        first = stem[0]
        # Half the stride of the published stem, which would reduce an image of 28 pixels to a single position.
        stem[0] = nn.Conv2d(
            shape.channels,
            first.out_channels,
            first.kernel_size,
            first.stride[0] // 2,
            first.padding if first.padding[0] else 1,
            bias=first.bias is not None,
        )
        for part in net.modules():
            scale = getattr(part, "layer_scale", None)
            if isinstance(scale, nn.Parameter):
                part.draw_parameters = partial(_small_scale, scale)
        trunk = nn.Sequential(OrderedDict(features=net.features, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()))
        return Classifier(trunk, features, shape, dropout=drop)

    return build


def _small_scale(scale: nn.Parameter, rng: torch.Generator) -> None:
    """Initialise ConvNeXt's layer scale such that blocks start near the identity (Liu et al. 2022)."""
    nn.init.constant_(scale, 1e-6)


# Howard et al. 2019, Tan & Le 2019, Liu et al. 2022; number of features of the last pooled layer.
classifiers.register("mobilenet_v3_small")(_mobile("mobilenet_v3_small", 576, 0.2))
classifiers.register("mobilenet_v3_large")(_mobile("mobilenet_v3_large", 960, 0.2))
classifiers.register("efficientnet_b0")(_mobile("efficientnet_b0", 1280, 0.2))
classifiers.register("convnext_tiny")(_mobile("convnext_tiny", 768, 0.0))


def _load_published(net: Classifier, kind: str) -> None:
    """Load published weights into a torchvision backbone.

    The kernels of its first convolution are summed over colours for grey images, which equals three identical channels.
    Inputs stay in [-1,1], about half the range that the weights were trained on; batch norms and training compensate.
    """
    state = dict(torchvision_state(kind, "classifier.pretrained: false"))
    target = net.trunk.state_dict()
    first = next(name for name, value in target.items() if value.ndim == 4)
    with reading(published_file(kind), kind):
        kernels = state[first]
        state[first] = kernels if target[first].shape[1] >= 3 else kernels.sum(1, keepdim=True)
        # Older files lack the batch counters of batch norms, which have no effect here.
        counters = {name: state.get(name, target[name]) for name in target if name.endswith(COUNTER)}
        weights = {name: state[name] for name in target if not name.endswith(COUNTER)}
        net.trunk.load_state_dict({**weights, **counters})


def build(options: ClassifierOptions, shape: Shape, rng: torch.Generator) -> Classifier:
    """A new classifier whose initial weights, and later dropout masks, are drawn from `rng`."""
    net = classifiers[options.kind](shape)
    initialise(net, rng)
    use_rng(net, rng)
    if shape.apart:
        norms_apart(net)
    return net


def start(options: ClassifierOptions, shape: Shape, rng: torch.Generator, planes: int = 0) -> Classifier:
    """The classifier that training starts from, with published weights if requested; UserError if they are unavailable.

    planes: how many of `shape`'s channels follow those of the image. Their weights start at 0, so that the net computes
    the same as without them: arms of a seed start alike with and without the origin flag.
    """
    image_shape = replace(shape, channels=shape.channels - planes, apart=False)
    net = build(options, image_shape, rng)
    if options.pretrained:
        _load_published(net, options.kind)
    if planes:
        _widen(net, planes)
    if shape.apart:
        norms_apart(net)
    net.shape = shape
    return net


def _widen(net: Classifier, planes: int) -> None:
    """Add input channels with weights 0 to the first convolution."""
    stem = next(part for part in net.trunk.modules() if isinstance(part, nn.Conv2d))
    weight = stem.weight.detach()
    added = weight.new_zeros(weight.shape[0], planes, *weight.shape[2:])
    stem.weight = nn.Parameter(torch.cat([weight, added], 1))
    stem.in_channels += planes


def check(options: ClassifierOptions, channels: int, classes: int, size: int) -> None:
    """UserError if the classifier cannot process images of that size; called before any training."""
    net = build(options, Shape(channels, classes, options.width), torch.Generator()).eval()
    try:
        with torch.no_grad():
            net(torch.zeros(1, channels, size, size))
    except RuntimeError:
        raise UserError(
            f"classifier {options.kind} cannot take images of {size} pixels; use a larger image.size, or another "
            f"classifier.kind: {choices(classifiers)}"
        ) from None
