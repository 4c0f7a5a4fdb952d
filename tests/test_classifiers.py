from __future__ import annotations

import pytest
import torch

from augpipe.classifiers import ClassifierOptions, Shape, build, classifiers


@pytest.mark.parametrize("kind", list(classifiers))
@pytest.mark.parametrize("size", [16, 28, 64])
def test_logits_and_features_have_their_shapes(kind: str, size: int) -> None:
    net = build(ClassifierOptions(kind=kind), Shape(3, 7, 0.5), torch.Generator()).eval()
    x = torch.rand(2, 3, size, size)
    assert net(x).shape == (2, 7) and net(x).dtype == torch.float32
    assert torch.allclose(net.head(net.features(x)), net(x), atol=1e-5)


def test_the_small_image_stem_keeps_resolution() -> None:
    net = build(ClassifierOptions(kind="resnet18"), Shape(1, 2, 1.0), torch.Generator())
    assert net.trunk.conv1.stride == (1, 1) and isinstance(net.trunk.maxpool, torch.nn.Identity)


def test_unknown_kind_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="unknown classifier 'vgg'; have small_cnn, resnet18"):
        ClassifierOptions(kind="vgg")
